// Declares what the build adds to the scripts, and what TypeScript's libraries lack. Only `make lint` uses it.

declare const __BUILD__: string;

declare var Deno: unknown;

interface TrustedScriptURL {
  toJSON(): string;
}

interface MessagePort {
  /** In Node.js. */
  ref?(): void;
  unref?(): void;
}

declare module 'wasm_exec.js' {
  export default function (globalThis: object): new () => {
    exited: boolean;
    importObject: WebAssembly.Imports;
    run(instance: WebAssembly.Instance): Promise<void>;
  };
}

declare module '*/eventsource.assets.mjs' {
  export const module: string;
  export const worker: string;
}
