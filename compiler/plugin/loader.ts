/** `wasmith/loader`: a loader of webpack and rspack, and of what takes such (Next's Turbopack). Its options are the plugin's. */

import { ModelBuilder } from "./build.js";
import { modelRequest, type PluginOptions } from "./request.js";

/** What is used of a loader's context. */
interface LoaderContext {
  readonly resourcePath: string;
  readonly resourceQuery: string;
  readonly rootContext: string;
  getOptions(): PluginOptions;
  addDependency(path: string): void;
}

const builders = new WeakMap<PluginOptions, ModelBuilder>();

/** The module that stands for the model. The model itself is not read by other loaders. */
export async function pitch(this: LoaderContext): Promise<string | undefined> {
  const request = modelRequest(this.resourcePath + this.resourceQuery);
  if (!request) return undefined;
  const options = this.getOptions();
  let builder = builders.get(options);
  if (!builder) {
    builder = new ModelBuilder(options);
    builders.set(options, builder);
  }
  this.addDependency(request.path);
  const model = await builder.build(request, this.rootContext);
  for (const path of model.watch) this.addDependency(path);
  const news = builder.news(model);
  if (news) console.info(news);
  return model.code;
}

/** What is no model is left as it is. */
export default function unchanged(source: string): string {
  return source;
}
