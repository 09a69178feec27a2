/**
 * What may stand behind a host in a hostfile: a key and the text behind its "=" in, a checked value or what was expected out.
 */

/** What a host's line can say, each at most once. */
export interface HostSettings {
  readonly slots?: number;
  readonly maxSlots?: number;
  /** Of its sshd. */
  readonly port?: number;
  /** How much of the model each of its ranks takes, compared with a rank of weight 1. */
  readonly weight?: number;
  /** Numbers of the devices that its ranks share. */
  readonly devices?: readonly number[];
}

/** How the text behind a key is understood. */
export interface SettingKind {
  readonly setting: keyof HostSettings;
  /** Completes "expected slots=". */
  readonly expected: string;
  /** Undefined: the text is not what was expected. */
  readonly read: (text: string) => number | readonly number[] | undefined;
}

const positiveInteger = (setting: keyof HostSettings): SettingKind => ({
  setting,
  expected: "<positive integer>",
  read: (text) => (/^0*[1-9][0-9]{0,5}$/.test(text) ? Number(text) : undefined),
});

const WEIGHT: SettingKind = {
  setting: "weight",
  expected: "<positive number>, e.g. 0.5",
  read: (text) => (/^[0-9]{0,6}(\.?[0-9]{1,6})$/.test(text) && Number(text) > 0 ? Number(text) : undefined),
};

const DEVICES: SettingKind = {
  setting: "devices",
  expected: "<numbers of different devices>, e.g. 0,1",
  read: (text) => {
    const devices = /^[0-9]{1,3}(,[0-9]{1,3})*$/.test(text) ? text.split(",").map(Number) : [];
    return devices.length > 0 && new Set(devices).size === devices.length ? devices : undefined;
  },
};

/** All spellings that Open MPI takes for the same thing; port, weight and devices are our own. */
export const SETTING_OF_KEY: ReadonlyMap<string, SettingKind> = new Map([
  ["port", positiveInteger("port")],
  ["weight", WEIGHT],
  ["devices", DEVICES],
  ...["slots", "cpu", "count"].flatMap((key): readonly (readonly [string, SettingKind])[] => [
    [key, positiveInteger("slots")],
    ...[`max_${key}`, `max-${key}`, `${key}_max`, `${key}-max`].map(
      (maxKey) => [maxKey, positiveInteger("maxSlots")] as const,
    ),
  ]),
]);
