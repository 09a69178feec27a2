/**
 * Options of mpirun that do not exist here: the name in, what to do instead out. Whoever types one by habit learns that it is
 * no typing error, and what means the same.
 */

const NO_OPEN_MPI = "There is no Open MPI inside to be tuned. Leave it out";
const SAY_HOSTS = "Say which hosts take part with -hostfile or -H";
const SHOW_MAP = "--display-map shows which ranks run where";
const PER_HOST = "Write --map-by ppr:N:node";
const CORES = "Ranks compute with several threads: --bind-to core gives each its share of the host's cores";
const NO_RESTART = "When a rank fails, the others are ended. Leave it out";
const NO_DEBUGGER = "Name the debugger before the program instead: shardrun -np 2 gdb --args node script.mjs";
const TAGGED = "--tag-output says whose a line is, --output-filename writes files";

/** By name, without dashes. */
const INSTEAD: Readonly<Record<string, string>> = {
  mca: NO_OPEN_MPI,
  gmca: NO_OPEN_MPI,
  am: NO_OPEN_MPI,
  tune: NO_OPEN_MPI,
  "ompi-server": NO_OPEN_MPI,
  personality: NO_OPEN_MPI,
  hnp: NO_OPEN_MPI,
  dvm: NO_OPEN_MPI,
  novm: NO_OPEN_MPI,
  "launch-agent": "Say with --prefix where shardrun is installed there",
  noprefix: "Say with --prefix where shardrun is installed there",
  path: "Name the program by its path, or set PATH with -x PATH=...",
  app: "All ranks run the same program. Leave it out",
  "merge-stderr-to-stdout": "Write 2>&1 after the command instead",
  nooversubscribe: "More ranks than slots are refused already. Leave it out",
  "use-hwthread-cpus": "Say how many slots there are: -H localhost:N",
  "default-hostfile": SAY_HOSTS,
  nolocal: SAY_HOSTS,
  "do-not-resolve": SAY_HOSTS,
  N: PER_HOST,
  npernode: PER_HOST,
  ppr: PER_HOST,
  pernode: "Write --map-by ppr:1:node",
  npersocket: "Write --map-by numa, or --map-by ppr:N:node",
  bynode: "Write --map-by node",
  byslot: "Write --map-by slot, which is usual",
  bycore: CORES,
  "bind-to-core": "Write --bind-to core",
  "bind-to-socket": "Write --bind-to numa",
  "cpus-per-proc": CORES,
  "cpus-per-rank": CORES,
  "cpu-set": CORES,
  "cpu-list": CORES,
  rankfile: "Ranks are numbered by -hostfile, --map-by and --rank-by",
  rf: "Ranks are numbered by -hostfile, --map-by and --rank-by",
  "display-allocation": SHOW_MAP,
  "display-devel-map": SHOW_MAP,
  "display-diffable-map": SHOW_MAP,
  "display-topo": "shardrun check shows the cores of each host",
  "do-not-launch": "shardrun check tries the hosts without running anything",
  "enable-recovery": NO_RESTART,
  "disable-recovery": NO_RESTART,
  "max-restarts": NO_RESTART,
  continuous: NO_RESTART,
  debug: NO_DEBUGGER,
  debugger: NO_DEBUGGER,
  tv: NO_DEBUGGER,
  xterm: TAGGED,
  xml: TAGGED,
  "xml-file": TAGGED,
  "report-pid": "Messages name the PID of a rank that fails. Leave it out",
  "preload-binary": "Programs are not copied: put it at the same path on every host",
  s: "Programs are not copied: put it at the same path on every host",
  "preload-files": "Files are not copied: put them at the same paths on every host",
  quiet: "There is nothing to be silenced. Leave it out",
  q: "There is nothing to be silenced. Leave it out",
  verbose: "--display-map and --report-bindings say more",
  v: "--display-map and --report-bindings say more",
};

/** What to do instead of an option of mpirun; undefined: mpirun does not have it either, or it exists here. */
export function insteadOfMpirunOption(name: string): string | undefined {
  return Object.hasOwn(INSTEAD, name) ? INSTEAD[name] : undefined;
}
