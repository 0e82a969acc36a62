#!/usr/bin/env python3
"""Makes what bench/files.sh backs up, and changes it; the same for the same numbers.

  make_tree.py tree DIRECTORY FILES BYTES
      so many files in folders of about twenty, five deep at most; sizes as in a home directory (many
      small, few large), together about BYTES; three of five are text, the others do not compress
  make_tree.py change-tree DIRECTORY SHARE SEED
      that share of the files: a third grow at their end, a third in their middle, a third become others
  make_tree.py file PATH BYTES
      one file: stretches of 1 MiB, text and what does not compress in turn
  make_tree.py change-file PATH SHARE SEED
      overwrites random stretches of 64 KiB to 1 MiB in place, together that share of its bytes

Says on standard output what it made or changed."""

import os
import random
import sys

MIB = 2**20


class Content:
    """Text of sentences that come again, in a new order each time; or random bytes."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        words = [self.chance.randbytes(2 + i % 5).hex() for i in range(4000)]
        self.phrases = [" ".join(self.chance.choices(words, k=6)) for _ in range(30000)]
        self.mean = sum(map(len, self.phrases)) / len(self.phrases)

    def text(self, size):
        lines = self.chance.choices(self.phrases, k=int(size / self.mean) + 2)
        return (f"{self.chance.random()}\n" + "\n".join(lines)).encode()[:size]

    def make(self, size, is_text):
        return self.text(size) if is_text else self.chance.randbytes(size)


def is_text(path):
    return path.endswith(".txt")


def make_tree(directory, files, size):
    content = Content(1)
    chance = random.Random(2)
    sizes = [chance.lognormvariate(8.3, 1.6) for _ in range(files)]  # median 4 KB
    scale = size / sum(sizes)
    folders = [directory]
    for _ in range(files // 20):
        parent = chance.choice(folders[-200:])
        if parent[len(directory):].count("/") >= 5:
            parent = directory
        folders.append(os.path.join(parent, f"folder-{len(folders)}"))
        os.makedirs(folders[-1])
    total = 0
    for number, wanted in enumerate(sizes):
        name = f"file-{number}." + ("txt" if number % 5 < 3 else "bin")
        path = os.path.join(chance.choice(folders), name)
        data = content.make(int(wanted * scale), is_text(path))
        with open(path, "xb") as file:
            file.write(data)
        total += len(data)
    print(f"{files} files in {len(folders)} folders, {total / MIB:.0f} MiB")


def change_tree(directory, share, seed):
    content = Content(1000 + seed)
    chance = random.Random(seed)
    paths = sorted(os.path.join(folder, name)
                   for folder, _, names in os.walk(directory) for name in names)
    chosen = chance.sample(paths, max(3, int(len(paths) * share)))
    touched = 0
    for number, path in enumerate(chosen):
        with open(path, "rb") as file:
            data = file.read()
        more = content.make(max(200, len(data) // 20), is_text(path))
        middle = len(data) // 2
        data = [data + more, data[:middle] + more + data[middle:],
                content.make(len(data), is_text(path))][number % 3]
        with open(path, "wb") as file:
            file.write(data)
        touched += len(data)
    print(f"{len(chosen)} of {len(paths)} files ({touched / MIB:.1f} MiB): a third grown at their end, "
          "a third in their middle, a third become others")


def make_file(path, size):
    content = Content(3)
    with open(path, "xb") as file:
        for number in range(size // MIB):
            file.write(content.make(MIB, number % 2 == 0))
    print(f"one file of {size // MIB} MiB")


def change_file(path, share, seed):
    content = Content(2000 + seed)
    chance = random.Random(seed)
    size = os.path.getsize(path)
    left, stretches = int(size * share), 0
    with open(path, "r+b") as file:
        while left > 0:
            length = min(left, chance.randint(64 * 1024, MIB))
            file.seek(chance.randrange(size - length))
            file.write(content.make(length, stretches % 2 == 0))
            left -= length
            stretches += 1
    print(f"{stretches} random stretches of 64 KiB to 1 MiB overwritten, together {size * share / MIB:.0f} MiB")


def main():
    match sys.argv[1:]:
        case ["tree", directory, files, size]:
            make_tree(directory, int(files), int(size))
        case ["change-tree", directory, share, seed]:
            change_tree(directory, float(share), int(seed))
        case ["file", path, size]:
            make_file(path, int(size))
        case ["change-file", path, share, seed]:
            change_file(path, float(share), int(seed))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
