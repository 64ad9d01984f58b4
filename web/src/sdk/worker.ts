/** Makes pictures smaller off the main thread. */
export {};
