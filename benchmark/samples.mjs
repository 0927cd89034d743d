// @ts-check
//! Classifies the samples of `perf script` for a workerd process by the kind of its work. Pure: reads lines and
//! counts.

/**
 * A frame of a stack. perf does not know the names of code that is compiled at run time; there the name is
 * `[unknown]`.
 *
 * @typedef {object} Frame
 * @property {string} address
 * @property {string} name
 * @property {string} from the file of the code, or perf's placeholder for it
 */

/** The kinds in their order, with names for readers. */
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

/** A sample with one of these anywhere in its stack belongs to that work, whatever function it is in. */
const COLLECTION =
  /\bv8::.*(CollectGarbage|Scaveng|Sweep|Mark(ing|er|Compact)|Evacuat|GCTracer|PhantomCallbacks)|\bcppgc::.*(Collect|Sweep|Mark(ing|er))/;
const COMPILING =
  /\bv8::internal::(compiler|maglev|turboshaft|baseline|interpreter)::|\bv8::internal::(\S*::)?\w*(Compile|Compilation|Liftoff|Turbofan)|^Builtins_Compile/;

/** The places of code that is compiled at run time: no file, or a placeholder of perf or the system. */
const NO_FILE = /^(\/\/|\/memfd:|\[|anon)|\/perf-\d+\.map$|^$/;

/**
 * The kind of a sample. The first frame is the innermost.
 *
 * @param {Frame[]} stack not empty
 * @returns {Kind}
 */
export function kindOf(stack) {
  if (stack.some(({ name }) => COLLECTION.test(name))) return "collection";
  if (stack.some(({ name }) => COMPILING.test(name))) return "compiling";
  const { address, name, from } = /** @type {Frame} */ (stack[0]);
  // The upper half of the address space belongs to the kernel, with or without a name.
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
  // Functions of other parts have types of V8 in their names as well.
  if (/\bv8::/.test(name) && !/\b(workerd|kj)::|6workerd|2kj/.test(name)) return "v8";
  if (/\b(kj_hyper|hyper|hyper_util|kj_rs_tokio|tokio|mio|http|httparse|bytes)(::|\$)/.test(name)) {
    return "http";
  }
  return "runtime";
}

/** Work for a database. Of the Workers only Gatehouse has one: its ledgers use it. */
const DATABASE = /sqlite/i;

/**
 * A sample, as far as it is used here.
 *
 * @typedef {object} Sample
 * @property {string} thread
 * @property {number} seconds the time by the clock of the recording; NaN if perf did not record it
 * @property {Kind} kind
 * @property {boolean} database
 */

/**
 * Parses the lines of `perf script -F comm,ip,sym,dso`, or with `time` as well. Each sample has a line with the
 * thread, a line for each frame, and an empty line.
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
 * Counts the samples of each kind.
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
