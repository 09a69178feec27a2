/** A way to a port of this host that can be cut, or blocked so that it stays open and carries nothing, as a pulled cable does. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Cable {
  /** 127.0.0.1:port, in place of the port behind. */
  readonly address: string;
  cut(): void;
  block(): void;
  /** Ends it for good. */
  close(): void;
}

/** @param port need not be listened on before the first connection comes */
export async function openCable(port: number): Promise<Cable> {
  const ends: Socket[] = [];
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    near.pipe(far).pipe(near);
    const both = [near, far];
    for (const end of both) end.on("error", () => both.forEach((each) => each.destroy()));
    ends.push(...both);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => ends.forEach((end) => end.destroy());
  const close = () => {
    cut();
    server.close();
  };
  const block = () => ends.forEach((end) => end.unpipe().pause());
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, cut, block, close };
}
