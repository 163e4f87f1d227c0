import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, readdirSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

const NEW = ".new";

/**
 * A storage for `Feedback` on a server's disk: what was queued outlives the process.
 *
 *   new Feedback({ ingestUrl, key, storage: new FolderStorage("/var/lib/shop/feedback") })
 *
 * Each item is a file. A folder belongs to one process at a time.
 */
export class FolderStorage {
  readonly #folder: string;
  readonly #names: Set<string>;

  /** Makes the folder if it is not there. */
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    this.#folder = folder;
    this.#names = new Set(readdirSync(folder).filter((name) => !name.endsWith(NEW)).sort());
  }

  get length(): number {
    return this.#names.size;
  }

  key(index: number): string | null {
    const name = [...this.#names][index];
    return name === undefined ? null : decodeURIComponent(name);
  }

  getItem(key: string): string | null {
    const name = encodeURIComponent(key);
    return this.#names.has(name) ? readFileSync(join(this.#folder, name), "utf8") : null;
  }

  /** Returns once the item is on the disk. */
  setItem(key: string, value: string): void {
    const name = encodeURIComponent(key);
    const path = join(this.#folder, name);
    const file = openSync(path + NEW, "w");
    try {
      writeSync(file, value);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(path + NEW, path);
    this.#names.add(name);
  }

  removeItem(key: string): void {
    const name = encodeURIComponent(key);
    this.#names.delete(name);
    rmSync(join(this.#folder, name), { force: true });
  }
}
