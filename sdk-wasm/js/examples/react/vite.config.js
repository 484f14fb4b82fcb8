export default {
  // Bundled beforehand, the SDK would look for its module where only its script is.
  optimizeDeps: { exclude: ["@tidegate/sdk"] },
  esbuild: { jsx: "automatic" },
};
