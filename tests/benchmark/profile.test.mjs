// @ts-check
//! The classification of profiler samples. Measures nothing.
//! Run with: node --test "tests/benchmark/*.test.mjs"

import assert from "node:assert/strict";
import { test } from "node:test";
import { KINDS, kindOf, samples, tally } from "../../benchmark/samples.mjs";
import { slowest } from "../../benchmark/tail.mjs";

const WORKERD = "/app/node_modules/@cloudflare/workerd-linux-64/bin/workerd";

/**
 * @param {string} name
 * @param {string} [from]
 * @param {string} [address]
 */
const frame = (name, from = WORKERD, address = "2ccb3c1") => ({ address, name, from });

test("profile: a sample is classified by the code in which it was taken", () => {
  /** @type {[kind: keyof typeof KINDS, ...frame: Parameters<typeof frame>][]} */
  const cases = [
    ["kernel", "tcp_sendmsg+0x1", "[kernel.kallsyms]", "ffffffff81a00001"],
    ["kernel", "[unknown]", "[unknown]", "ffffffff81a00001"],
    ["kernel", "nf_hook+0x1", "/lib/modules/6.1/kernel/net/nf_tables.ko.xz"],
    ["kernel", "__vdso_clock_gettime+0x56", "[vdso]"],
    ["code", "[unknown]", "/tmp/perf-4922.map", "10d5e0408f6"],
    ["code", "[unknown]", "//anon", "5595b7c14b5d"],
    ["code", "[unknown]", "[unknown]", "10d5e0408f6"],
    ["code", "[unknown]", "[JIT] tid 4922"],
    ["code", "[unknown]", "[anon:v8]"],
    ["code", "JS:*handle worker.mjs:1:1", "/tmp/perf-4922.map"],
    ["v8", "Builtins_RunMicrotasks+0x396"],
    ["v8", "v8::internal::LookupIterator::LookupInRegularHolder<false>+0x92"],
    ["v8", "std::__1::vector<v8::internal::Handle>::push_back+0x1"],
    ["v8", "_ZNK2v88internal6Object4SizeEv+0x1"],
    ["runtime", "workerd::jsg::unwrap<v8::Local<v8::Promise> >+0x1"],
    ["runtime", "_ZN7workerd3jsg7LiftKj_IN2v85LocalINS2_7PromiseEEEE5applyI+0x1"],
    ["runtime", "kj::_::Event::armDepthFirst+0x1d"],
    ["runtime", "workerd::api::Headers::Headers+0xd3"],
    ["runtime", "kj::Function<void (kj::HttpClient::Response)>::Impl+0x1"],
    ["runtime", "[unknown]"],
    ["http", "<hyper::ext::HeaderCaseMap>::get_all_internal+0xf3"],
    ["http", "<kj_hyper::body::Head>::apply+0xc20"],
    ["http", "kj_rs_tokio$cxxbridge1$TokioAsyncIoContext$block_on+0x25"],
    ["http", "mio::poll::Poll::poll+0x1"],
    ["memory", "tcmalloc::tcmalloc_internal::slow_alloc_small<tcmalloc::Policy>+0x1"],
    ["memory", "TCMallocInternalDeleteArrayNothrow+0x5e"],
    ["memory", "__memmove_avx512_unaligned_erms+0xa7", "/usr/lib/x86_64-linux-gnu/libc.so.6"],
  ];
  for (const [kind, ...of] of cases) assert.equal(kindOf([frame(...of)]), kind, of.join(" "));
});

test("profile: garbage collection and compilation are classified as such in any caller", () => {
  const free = frame("TCMallocInternalDelete+0x1");
  const fault = frame("exc_page_fault+0xd7", "[kernel.kallsyms]", "ffffffff81a00001");
  const collect = frame("v8::internal::Heap::CollectGarbage+0x1");
  assert.equal(kindOf([free, collect]), "collection");
  assert.equal(kindOf([fault, frame("cppgc::internal::Sweeper::Finish+0x1")]), "collection");
  const compile = frame("v8::internal::OptimizedCompilationJob::ExecuteJob+0x1");
  assert.equal(kindOf([free, compile]), "compiling");
  assert.equal(
    kindOf([frame("[unknown]"), frame("v8::internal::compiler::turboshaft::Run")]),
    "compiling",
  );
  // A call made from compiled code is where it is, not whence it came.
  assert.equal(
    kindOf([free, frame("[unknown]", "//anon"), frame("Builtins_JSEntry+0x1")]),
    "memory",
  );
});

test("profile: samples are counted from the output of perf", async () => {
  const lines = `workerd 
	         2ccb3c1 kj::_::waitImpl(kj::Own<kj::_::PromiseNode>&&, kj::SourceLocation)::$_2::operator()+0x1 (${WORKERD})
	         4918129 Builtins_CallApiCallbackGeneric+0x69 (${WORKERD})

V8 DefaultWorke 
	     10d5e0408f6 [unknown] (/tmp/perf-1.map)
	         4918129 v8::internal::(anonymous namespace)::Invoke+0xcb7 (${WORKERD})

workerd 
	ffffffff81a00001 [unknown] ([unknown])

workerd 
	     10d5e0408f7 [unknown] (/memfd:v8 (deleted))`.split("\n");
  const counts = tally(await samples(lines));
  const found = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
  assert.deepEqual(found, { runtime: 1, kernel: 1, code: 2 });
});

test("profile: a sample has its thread, its time and whether it served a database", async () => {
  const lines = `workerd 86894.648338: 
	         2ccb3c1 sqlite3VdbeExec+0x1 (${WORKERD})
	         4918129 workerd::SqliteDatabase::run+0x69 (${WORKERD})

V8 DefaultWorke 86894.700001: 
	         4918129 v8::internal::Sweeper::RawSweep+0x1 (${WORKERD})
`.split("\n");
  assert.deepEqual(await samples(lines), [
    { thread: "workerd", seconds: 86_894.648338, kind: "runtime", database: true },
    { thread: "V8 DefaultWorke", seconds: 86_894.700001, kind: "collection", database: false },
  ]);
});

test("profile: the slowest hundredth of calls is reported by cause", () => {
  // Calls of 1 ms, of which half is work; four of 400 are slower by 10 ms.
  const calls = Array.from({ length: 400 }, (_, at) => ({
    at: at * 0.02,
    took: at % 100 === 50 ? 0.011 : 0.001,
  }));
  /** @typedef {import("../../benchmark/samples.mjs").Sample} Sample */
  /** @type {(at: number, count: number, what?: Partial<Sample>) => Sample[]} */
  const work = (at, count, what = {}) =>
    Array.from({ length: count }, (_, index) => ({
      ...{ thread: "workerd", seconds: at * 0.02 + (index + 0.5) / 10_000 },
      ...{ kind: /** @type {const} */ ("runtime"), database: false, ...what },
    }));
  const found = slowest(
    calls,
    [
      ...calls.flatMap((_, at) => work(at, 5)),
      ...work(50, 90, { kind: "collection" }),
      ...work(150, 90, { kind: "memory" }),
      ...work(250, 30, { database: true }),
      // A call does not wait for the other threads.
      ...work(350, 90, { thread: "V8 DefaultWorke", kind: "collection" }),
    ],
    10_000,
  );
  assert.deepEqual(found, {
    calls: 4,
    causes: { collection: 1, ledger: 1, waiting: 1, busy: 1 },
  });
});
