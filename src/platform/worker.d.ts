/** What worker-build makes of `src/lib.rs`, bundled by `scripts/build`. */
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
declare var __worker_init_state: { criticalError: boolean };
