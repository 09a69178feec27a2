/** The long matrices of test/soak, which npm test leaves out: npm run test:soak -- -t NAME runs some of them. */
import base from "./jest.config.js";

export default {
  ...base,
  testMatch: ["<rootDir>/test/soak/**/*.test.ts"],
  testPathIgnorePatterns: ["/node_modules/"],
  maxWorkers: 1,
};
