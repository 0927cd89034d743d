// @ts-check
//! The service behind the binding `AI` in tests: forwards the requests of the runtime's Workers AI client to the simulated
//! provider and returns errors as Workers AI does.

export default {
  /**
   * @param {Request} request
   * @param {{ UPSTREAM: string }} env
   */
  async fetch(request, env) {
    /** @type {{ inputs: Record<string, unknown>, options: unknown }} */
    const { inputs, options } = await request.json();
    const model = request.headers.get("cf-consn-model-id");
    // The simulated provider records everything.
    const body = JSON.stringify({ model, ...inputs, options });
    const init = { method: "POST", body, signal: request.signal };
    const response = await fetch(`${env.UPSTREAM}/chat/completions`, init);
    if (response.ok) return response;
    const { error } = /** @type {{ error: { message: string, code: string | null } }} */ (
      await response.json()
    );
    // The client throws the message of a failing service.
    if (error.code === "throw") throw new Error(error.message);
    const [code, description] = error.message.split(": ");
    return Response.json(
      { internalCode: Number(code), description, name: "AiError" },
      { status: response.status },
    );
  },
};
