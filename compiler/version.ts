/** The compiler's version, as written to manifests. Kept equal to package.json by a test. */
export const version = "0.1.0";
