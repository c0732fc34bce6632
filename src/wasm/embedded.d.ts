/** @file The files of kernels that the build writes, by the names that package.json gives them (`imports`). */

declare module "#kernels" {
  /** Names the builds of the kernels that belong to this code. */
  export const id: string;
}

/** All kernels where they are a module, else the core: deflated, in base64. */
declare module "#kernels/*" {
  const kernels: string | WebAssembly.Module;
  export default kernels;
}

declare module "#parts/*" {
  const part: string;
  export default part;
}
