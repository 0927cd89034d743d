// @ts-check
//! Cohere's SDK, which the end-to-end tests use for reranking.

export { CohereClient, CohereClientV2 } from "cohere-ai";
