"""A disk after a power cut, from the trace of what all processes wrote and synced (t/shim/trace.c).

The rules are what ext4 and XFS promise, taken narrowly:

- What a sync that has ended covers (all that was written before it began) is there: bytes, size, and the file's name and those of its
  folders. Of a folder: all names in it.
- Every other write may be there, not there, or in part: by page (4096) or by sector (512), each as it was after any of the writes to it
  since the last sync. The size is any that the file has had since.
- Other changes of names have happened in their order up to any of them, as a journal has it; whatever is left of the files' content.
  POWER_NAMES=any: each by itself, in any order, which no journal does.
- What is written through a map counts as any other write, page by page.
"""

import os
import struct

RECORD = struct.Struct("<IIIIIIQqq")
PAGE, SECTOR = 4096, 512
ANY_NAMES = os.environ.get("POWER_NAMES") == "any"
STYLES = ("none", "all", "prefix", "pages", "pages", "sectors", "sectors")


class Event:
    __slots__ = ("kind", "pid", "ino", "at", "us", "a", "b")

    def __init__(self, kind, pid, ino, at, us, a, b):
        self.kind, self.pid, self.ino, self.at, self.us, self.a, self.b = kind, pid, ino, at, us, a, b


def read_trace(path):
    with open(path, "rb") as f:
        data = f.read()
    events, at = [], 0
    while at + RECORD.size <= len(data):
        n, kind, pid, a_len, _, _, ino, where, us = RECORD.unpack_from(data, at)
        middle = at + RECORD.size + a_len
        events.append(Event(chr(kind), pid, ino, where, us, data[at + RECORD.size:middle], data[middle:at + n]))
        at += n
    return events


def apply(content, op):
    """op: (number of the event, "w", at, bytes), or (number, "t" or "f", size)."""
    if op[1] == "w":
        end = op[2] + len(op[3])
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        content[op[2]:end] = op[3]
    else:
        if op[1] == "t":
            del content[op[2]:]
        if len(content) < op[2]:
            content.extend(bytes(op[2] - len(content)))


class Inode:
    """`safe` is what is on the disk for certain; `later` what may be, in order."""

    def __init__(self, folder=False):
        self.folder, self.safe, self.later = folder, bytearray(), []

    def settle(self, number):
        """All operations before that event are on the disk."""
        count = 0
        while count < len(self.later) and self.later[count][0] < number:
            apply(self.safe, self.later[count])
            count += 1
        del self.later[:count]

    def after(self, count):
        content = bytearray(self.safe)
        for op in self.later[:count]:
            apply(content, op)
        return content

    def left(self, style, cut, rng):
        """What is left of it. cut: for the style "prefix", the event up to which all was written."""
        if style == "none" or not self.later:
            return self.safe
        if style == "all":
            return self.after(len(self.later))
        if style == "prefix":
            return self.after(sum(op[0] < cut for op in self.later))
        if any(op[1] == "t" and op[2] < len(self.safe) for op in self.later):
            return self.after(rng.randrange(len(self.later) + 1))
        return self.torn(PAGE if style == "pages" else SECTOR, rng)

    def torn(self, grain, rng):
        writes = [op for op in self.later if op[1] == "w"]
        touched, sizes = {}, [len(self.safe)]
        for op in self.later:
            sizes.append(max(sizes[-1], op[2] + len(op[3]) if op[1] == "w" else op[2]))
        for op in writes:
            for unit in range(op[2] // grain, (op[2] + len(op[3]) - 1) // grain + 1):
                touched.setdefault(unit, []).append(op)
        content = bytearray(self.safe) + bytes(sizes[-1] - len(self.safe))
        for unit, ops in touched.items():
            for op in ops[:rng.randrange(len(ops) + 1)]:
                a, b = max(op[2], unit * grain), min(op[2] + len(op[3]), (unit + 1) * grain)
                content[a:b] = op[3][a - op[2]:b - op[2]]
        del content[rng.choice(sizes) if rng.random() < 0.3 else sizes[-1]:]
        return content


class Name:
    """One change of a name: kind "add", "move" (path to other) or "remove"."""

    def __init__(self, number, kind, path, other, inode):
        self.number, self.kind, self.path, self.other, self.inode = number, kind, path, other, inode

    def paths(self):
        return {self.path, self.other} if self.other else {self.path}

    def apply(self, names):
        """False: it makes no sense there, as something it needs has not happened."""
        target = self.other or self.path
        folder = names.get(os.path.dirname(target))
        if folder is None or (self.kind != "add" and names.get(self.path) is not self.inode):
            return False
        if self.kind != "add":
            del names[self.path]
        if self.kind != "remove":
            names[target] = self.inode
        return True


class Disk:
    """Takes the events one after another; image() makes what a power cut at that moment could leave."""

    def __init__(self):
        root = Inode(folder=True)
        self.live = {"": root}          # path -> inode, as the processes see it
        self.safe = {"": root}          # what is certain
        self.changes = []               # of names, that are not
        self.by_ino, self.syncs, self.number = {}, {}, 0
        self.syncs_ended = {}           # path at that time -> number of the event with which its last ended sync began

    def feed(self, e):
        self.number += 1
        getattr(self, "on_" + {"C": "create", "W": "write", "M": "write", "T": "size", "F": "size", "R": "rename", "L": "link",
                               "U": "unlink", "D": "create", "X": "unlink", "B": "sync_begin", "E": "sync_end", "A": "sent"}[e.kind])(e)

    def on_sent(self, e):
        pass

    def on_create(self, e):
        path = e.a.decode()
        inode = self.by_ino[e.ino] = self.live[path] = Inode(folder=e.kind == "D")
        self.changes.append(Name(self.number, "add", path, None, inode))

    def on_write(self, e):
        self.by_ino[e.ino].later.append((self.number, "w", e.at, e.a))

    def on_size(self, e):
        self.by_ino[e.ino].later.append((self.number, e.kind.lower(), e.at))

    def on_rename(self, e):
        a, b = e.a.decode(), e.b.decode()
        inode = self.live.pop(a)
        self.live[b] = inode
        self.changes.append(Name(self.number, "move", a, b, inode))

    def on_link(self, e):
        a, b = e.a.decode(), e.b.decode()
        self.live[b] = self.live[a]
        self.changes.append(Name(self.number, "add", b, None, self.live[b]))

    def on_unlink(self, e):
        path = e.a.decode()
        self.changes.append(Name(self.number, "remove", path, None, self.live.pop(path)))

    def on_sync_begin(self, e):
        if e.ino not in self.by_ino:            # there before the trace began: the root
            self.by_ino[e.ino] = self.live[""]
        self.syncs[e.pid, e.at] = self.by_ino[e.ino], self.number

    def on_sync_end(self, e):
        inode, number = self.syncs.pop((e.pid, e.at))
        inode.settle(number)
        self.settle_names(inode, number)
        for path in [p for p, i in self.live.items() if i is inode]:
            self.syncs_ended[path] = max(number, self.syncs_ended.get(path, 0))

    def settle_names(self, inode, number):
        """The changes that concern it become certain, and all that they stand on."""
        mine = [p for p, i in self.live.items() if i is inode] if inode.folder else []
        inodes, paths, settled = {id(inode)}, set(), []
        for c in reversed(self.changes):
            within = any(os.path.dirname(p) in mine for p in c.paths())
            if c.number >= number or not (within or id(c.inode) in inodes or paths & c.paths()):
                continue
            settled.append(c)
            inodes.add(id(c.inode))
            for p in c.paths():
                while p:
                    paths.add(p)
                    p = os.path.dirname(p)
        for c in reversed(settled):
            c.apply(self.safe)
            self.changes.remove(c)

    # -- the cut

    def names_left(self, style, cut, rng):
        names, keep = dict(self.safe), rng.random()
        if style in ("pages", "sectors"):
            cut = rng.choice([c.number for c in self.changes] + [self.number + 1])
        for c in self.changes:
            if ANY_NAMES and style in ("pages", "sectors"):
                happened = rng.random() < keep
            else:
                happened = style == "all" or (style != "none" and c.number < cut)
            if happened:
                c.apply(names)
        return names

    def image(self, folder, rng):
        """Writes it into an empty folder. Returns the style, for messages."""
        style = rng.choice(STYLES)
        cut = rng.randrange(max(0, self.number - 3000), self.number + 1)
        for path, inode in sorted(self.names_left(style, cut, rng).items()):
            where = os.path.join(folder, path)
            if inode.folder:
                os.makedirs(where, exist_ok=True)
                continue
            with open(where, "wb") as f:
                f.write(inode.left(style, cut, rng))
        return style
