/** What worker-build makes of `src/lib.rs`; `scripts/build` says where it is. */
declare module "gatehouse-worker" {
  /** Its class for requests. */
  export default class Worker {
    constructor(context: ExecutionContext, env: unknown);
    fetch(this: { env: unknown; ctx: ExecutionContext }, request: Request): unknown;
  }
  export const KeyLedger: unknown;
  export const Notifier: unknown;
  export const ProviderHealth: unknown;
  export const RateLimiter: unknown;
}

/** Made by the `worker` crate. */
declare var __worker_init_state: { criticalError: boolean };
