// @ts-check
// The npm packages that the released package installs, at the versions that the repository's lock file pins.
//
// npm does not read the lock file of a package that is installed from a file. So the manifest names every package of the
// tree, at its exact version, and npm takes these for the ranges in between.

/** The packages that the operators' scripts and `gatehouse` import or run. */
const DIRECT = ["commander", "miniflare", "string-width", "wrangler"];

/** @typedef {{ packages: Record<string, any> }} Lock */

/**
 * The manifest of the released package.
 *
 * @param {any} repository - The repository's package.json.
 * @param {Lock} lock - The repository's package-lock.json.
 */
export function manifest(repository, lock) {
  const { name, version, description, license, type, engines } = repository;
  const dependencies = [...installed(lock)].flatMap(([place, entry]) => {
    const [, name, ...deeper] = place.split("node_modules/");
    // A second version of a package, or a package for one platform, is pinned by the package that needs it.
    return deeper.length > 0 || entry.optional ? [] : [[name, entry.version]];
  });
  return {
    ...{ name, version, description, license, type, engines },
    bin: { gatehouse: "scripts/gatehouse.mjs" },
    dependencies: Object.fromEntries(dependencies),
  };
}

/**
 * The packages of the tree by their places, with their entries in the lock file.
 *
 * @param {Lock} lock
 * @returns {Map<string, any>}
 */
export function installed({ packages }) {
  const found = new Map();
  const waiting = DIRECT.map((name) => ({ name, from: "" }));
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const place = resolve(packages, next.name, next.from);
    if (place === undefined) throw new Error(`package-lock.json has no ${next.name}`);
    if (found.has(place)) continue;
    const entry = packages[place];
    found.set(place, entry);
    const peers = Object.keys(entry.peerDependencies ?? {}).filter(
      (name) => !entry.peerDependenciesMeta?.[name]?.optional,
    );
    const names = [...peers, ...Object.keys(entry.dependencies ?? {})];
    // A package for another platform is in the lock file as well, unless that platform has none.
    const others = Object.keys(entry.optionalDependencies ?? {}).filter((name) =>
      resolve(packages, name, place),
    );
    waiting.push(...[...names, ...others].map((name) => ({ name, from: place })));
  }
  return new Map([...found].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * The place of a dependency, as Node finds it: in the folder of the package that needs it, or in one above.
 *
 * @param {Record<string, object>} packages
 * @param {string} name
 * @param {string} from - The place of the package that needs it; "" is the root.
 * @returns {string | undefined}
 */
function resolve(packages, name, from) {
  for (
    let folder = from;
    ;
    folder = folder.slice(0, Math.max(0, folder.lastIndexOf("/node_modules/")))
  ) {
    const place = `${folder === "" ? "" : `${folder}/`}node_modules/${name}`;
    if (place in packages) return place;
    if (folder === "") return undefined;
  }
}
