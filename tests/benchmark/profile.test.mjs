// @ts-check
//! How samples of the profiler are sorted by kind. Measures nothing.
//! Run with: node --test "tests/benchmark/*.test.mjs"

import assert from "node:assert/strict";
import { test } from "node:test";
import { KINDS, kindOf, sorted } from "../../benchmark/samples.mjs";

const WORKERD = "/app/node_modules/@cloudflare/workerd-linux-64/bin/workerd";

/**
 * @param {string} name
 * @param {string} [from]
 * @param {string} [address]
 */
const frame = (name, from = WORKERD, address = "2ccb3c1") => ({ address, name, from });

test("a sample is of the kind of where it was", () => {
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

test("what is done for a collection or for compiling is of that kind, whatever does it", () => {
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

test("samples are counted from what perf says", async () => {
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
  const counts = await sorted(lines);
  const found = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
  assert.deepEqual(found, { runtime: 1, kernel: 1, code: 2 });
});
