// @ts-check
//! Sorts what `perf script` says of a workerd process: what its processor was doing in each sample, by kind. Pure: reads
//! lines and counts.

/**
 * A frame of a stack. What compiled code is called nobody tells perf, so there the name is `[unknown]`.
 *
 * @typedef {object} Frame
 * @property {string} address
 * @property {string} name
 * @property {string} from the file that it is of, or what perf says instead
 */

/** The kinds, in this order, as readers know them. */
export const KINDS = /** @type {const} */ ({
  runtime: "the runtime itself (workerd, kj, jsg)",
  kernel: "the kernel: the network, the log’s writes, waking up",
  v8: "V8 itself and its builtins",
  code: "Wasm and JavaScript, compiled",
  http: "HTTP (hyper, tokio, mio)",
  memory: "memory: malloc and libc",
  collection: "garbage collection",
  compiling: "compiling",
});

/** @typedef {keyof typeof KINDS} Kind */

/** What has one of these anywhere in its stack is done for that, whatever does it. */
const COLLECTION =
  /\bv8::.*(CollectGarbage|Scaveng|Sweep|Mark(ing|er|Compact)|Evacuat|GCTracer|PhantomCallbacks)|\bcppgc::.*(Collect|Sweep|Mark(ing|er))/;
const COMPILING =
  /\bv8::internal::(compiler|maglev|turboshaft|baseline|interpreter)::|\bv8::internal::(\S*::)?\w*(Compile|Compilation|Liftoff|Turbofan)|^Builtins_Compile/;

/** Where code is that is compiled as it runs: of no file, or of what perf or the system make up for one. */
const NO_FILE = /^(\/\/|\/memfd:|\[|anon)|\/perf-\d+\.map$|^$/;

/**
 * What a sample was doing. Frames begin with where it was.
 *
 * @param {Frame[]} stack not empty
 * @returns {Kind}
 */
export function kindOf(stack) {
  if (stack.some(({ name }) => COLLECTION.test(name))) return "collection";
  if (stack.some(({ name }) => COMPILING.test(name))) return "compiling";
  const { address, name, from } = /** @type {Frame} */ (stack[0]);
  // The upper half of all addresses is the kernel’s, named or not.
  if (/^f{4}[0-9a-f]{12}$/.test(address) || /^\[(kernel|guest\.kernel|vdso)/.test(from)) {
    return "kernel";
  }
  if (/\.ko(\.\w+)?$|vmlinux/.test(from)) return "kernel";
  if (NO_FILE.test(from)) return "code";
  if (/tcmalloc|^operator (new|delete)|^_Z(nw|na|dl|da)|mi_(malloc|free)/i.test(name)) {
    return "memory";
  }
  if (/\/(libc|libm|ld-linux|libpthread|libstdc\+\+|libgcc_s)\b[^/]*$/.test(from)) return "memory";
  if (/^Builtins_|^(v8|cppgc|heap::base)::|^_ZN[A-Z]?2v8/.test(name)) return "v8";
  // What belongs to others has types of V8 in its name as well.
  if (/\bv8::/.test(name) && !/\b(workerd|kj)::|6workerd|2kj/.test(name)) return "v8";
  if (/\b(kj_hyper|hyper|hyper_util|kj_rs_tokio|tokio|mio|http|httparse|bytes)(::|\$)/.test(name)) {
    return "http";
  }
  return "runtime";
}

/** What is done for a database, which of the Workers only Gatehouse has: its ledgers are in one. */
const DATABASE = /sqlite/i;

/**
 * A sample, as far as anything here asks.
 *
 * @typedef {object} Sample
 * @property {string} thread
 * @property {number} seconds when, by the clock that the recording was made with; NaN: perf was not asked
 * @property {Kind} kind
 * @property {boolean} database
 */

/**
 * The samples in the lines of `perf script -F comm,ip,sym,dso`, or with `time` as well: each has a line that tells the thread,
 * one for each frame, and an empty one.
 *
 * @param {Iterable<string> | AsyncIterable<string>} lines
 */
export async function samples(lines) {
  /** @type {Sample[]} */
  const all = [];
  let [thread, seconds] = ["", NaN];
  /** @type {Frame[]} */
  let stack = [];
  const end = () => {
    if (stack.length > 0) {
      const database = stack.some(({ name }) => DATABASE.test(name));
      all.push({ thread, seconds, kind: kindOf(stack), database });
    }
    stack = [];
  };
  for await (const line of lines) {
    if (line.trim() === "") {
      end();
      continue;
    }
    const [, address, name, from] = line.match(/^\s+([0-9a-f]+) (.*) \(((?:[/[]|anon).*)\)$/) ?? [];
    if (address !== undefined && name !== undefined && from !== undefined) {
      stack.push({ address, name, from });
    } else {
      const [, comm = "", time] = line.match(/^(\S.*?)\s+(?:([\d.]+):\s*)?$/) ?? [];
      [thread, seconds] = [comm, Number(time ?? NaN)];
    }
  }
  end();
  return all;
}

/**
 * How many there are of each kind.
 *
 * @param {Sample[]} all
 */
export function tally(all) {
  const counts = /** @type {Record<Kind, number>} */ (
    Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, 0]))
  );
  for (const { kind } of all) counts[kind] += 1;
  return counts;
}
