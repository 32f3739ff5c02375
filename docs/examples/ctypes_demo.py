#!/usr/bin/env python3
"""ctypes_demo.py [LIBRARY [DIR]]: libbitcask from Python without a binding, to show what one needs.

Structs are set up by the library's _init functions: what a later version appends to them stays zero. Keys and values are bytes.
"""

import contextlib
import ctypes
import ctypes.util
import sys
import tempfile
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

OK, NOT_FOUND, BUSY = 0, -1, -11
ITER_SORTED = 1


class Slice(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("size", c_size_t)]

    def __bytes__(self):
        return ctypes.string_at(self.data, self.size) if self.size else b""


class Error(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("result", c_int32),
        ("sys_errno", c_int32),
        ("offset", c_uint64),
        ("file", c_char_p),
        ("message", c_char_p),
    ]


class PutOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("flags", c_uint32),
        ("reserved", c_uint32),
        ("expire_at_ms", c_int64),
        ("sequence", c_uint64),
    ]


class KeyInfo(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("value_size", c_uint64), ("sequence", c_uint64), ("expire_at_ms", c_int64)]


class IterOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("flags", c_uint32),
        ("reserved", c_uint32),
        ("snapshot", c_void_p),
        ("prefix", Slice),
        ("first", Slice),
        ("last", Slice),
        ("limit", c_uint64),
    ]


class View(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("size", c_size_t), ("sequence", c_uint64), ("expire_at_ms", c_int64), ("pin", c_void_p)]


FOLD_FN = ctypes.CFUNCTYPE(c_int, Slice, Slice, POINTER(KeyInfo), c_void_p)

# Without these, ctypes would pass and return pointers as 32-bit numbers.
FUNCTIONS = {
    "version": (c_char_p, []),
    "last_error": (POINTER(Error), []),
    "open": (c_int, [c_char_p, c_void_p, POINTER(c_void_p)]),
    "close": (c_int, [c_void_p]),
    "now_ms": (c_int64, [c_void_p]),
    "put_options_init": (None, [POINTER(PutOptions), c_size_t]),
    "put": (c_int, [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, POINTER(PutOptions), POINTER(c_uint64)]),
    "get": (c_int, [c_void_p, c_char_p, c_size_t, POINTER(c_void_p), POINTER(c_size_t)]),
    "free": (None, [c_void_p]),
    "delete": (c_int, [c_void_p, c_char_p, c_size_t, POINTER(PutOptions), POINTER(c_uint64)]),
    "key_info_init": (None, [POINTER(KeyInfo), c_size_t]),
    "info": (c_int, [c_void_p, c_char_p, c_size_t, POINTER(KeyInfo)]),
    "snapshot_new": (c_int, [c_void_p, POINTER(c_void_p)]),
    "snapshot_view": (c_int, [c_void_p, c_char_p, c_size_t, POINTER(View)]),
    "snapshot_release": (None, [c_void_p]),
    "view_release": (None, [POINTER(View)]),
    "iter_options_init": (None, [POINTER(IterOptions), c_size_t]),
    "iter_new": (c_int, [c_void_p, POINTER(IterOptions), POINTER(c_void_p)]),
    "iter_next": (c_int, [c_void_p]),
    "iter_key": (Slice, [c_void_p]),
    "iter_value": (c_int, [c_void_p, POINTER(Slice)]),
    "iter_free": (None, [c_void_p]),
    "fold": (c_int, [c_void_p, POINTER(IterOptions), FOLD_FN, c_void_p]),
}


class BitcaskError(Exception):
    def __init__(self, result, message):
        super().__init__(message)
        self.result = result


class Library:
    """The functions by their names without bitcask_."""

    def __init__(self, path):
        library = ctypes.CDLL(path)
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(library, "bitcask_" + name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def check(self, result):
        if result != OK:
            raise BitcaskError(result, self.last_error().contents.message.decode())

    def made(self, kind, init):
        struct = kind()
        init(byref(struct), ctypes.sizeof(struct))
        return struct


class Store:
    """One handle. Safe from any thread, as the library's; ctypes lets other Python threads run during a call."""

    def __init__(self, library, directory):
        self.library = library
        self.handle = c_void_p()
        library.check(library.open(directory.encode(), None, byref(self.handle)))

    def close(self):
        self.library.check(self.library.close(self.handle))
        self.handle = None

    def put(self, key, value, ttl_s=None):
        options = self.library.made(PutOptions, self.library.put_options_init)
        if ttl_s is not None:
            options.expire_at_ms = self.library.now_ms(self.handle) + int(ttl_s * 1000)
        sequence = c_uint64()
        self.library.check(
            self.library.put(self.handle, key, len(key), value, len(value), byref(options), byref(sequence))
        )
        return sequence.value

    def get(self, key):
        """The value, or None."""
        value, size = c_void_p(), c_size_t()
        result = self.library.get(self.handle, key, len(key), byref(value), byref(size))
        if result == NOT_FOUND:
            return None
        self.library.check(result)
        try:
            return ctypes.string_at(value, size.value)
        finally:
            self.library.free(value)

    def delete(self, key):
        self.library.check(self.library.delete(self.handle, key, len(key), None, None))

    def info(self, key):
        info = self.library.made(KeyInfo, self.library.key_info_init)
        self.library.check(self.library.info(self.handle, key, len(key), byref(info)))
        return info

    @contextlib.contextmanager
    def snapshot(self):
        """A function that gets from the store as it is now."""
        snapshot = c_void_p()
        self.library.check(self.library.snapshot_new(self.handle, byref(snapshot)))

        def get(key):
            view = View()
            result = self.library.snapshot_view(snapshot, key, len(key), byref(view))
            if result == NOT_FOUND:
                return None
            self.library.check(result)
            value = ctypes.string_at(view.data, view.size)
            self.library.view_release(byref(view))
            return value

        try:
            yield get
        finally:
            self.library.snapshot_release(snapshot)

    def items(self, prefix=b""):
        """All keys that start with prefix, in order, with their values."""
        options = self.library.made(IterOptions, self.library.iter_options_init)
        options.flags = ITER_SORTED
        options.prefix = Slice(ctypes.cast(c_char_p(prefix), c_void_p), len(prefix))
        iterator, value = c_void_p(), Slice()
        self.library.check(self.library.iter_new(self.handle, byref(options), byref(iterator)))
        try:
            while (result := self.library.iter_next(iterator)) == OK:
                self.library.check(self.library.iter_value(iterator, byref(value)))
                yield bytes(self.library.iter_key(iterator)), bytes(value)
            if result != NOT_FOUND:
                self.library.check(result)
        finally:
            self.library.iter_free(iterator)

    def fold(self, function, state):
        """state = function(key, value, state) for every key. An exception ends the fold and comes out of it."""
        raised = []

        def call(key, value, _info, _ctx):
            nonlocal state
            try:
                state = function(bytes(key), bytes(value), state)
            except BaseException as error:  # must not pass through C
                raised.append(error)
                return 1
            return 0

        result = self.library.fold(self.handle, None, FOLD_FN(call), None)
        if raised:
            raise raised[0]
        self.library.check(result)
        return state


def fails(function, *arguments):
    """The exception that the call must raise."""
    try:
        function(*arguments)
    except (BitcaskError, ZeroDivisionError) as error:
        return error
    raise AssertionError("no error")


def demo(library, directory):
    store = Store(library, directory)
    first = store.put(b"user:17", b"Ada", ttl_s=1800)
    store.put(b"user:18", b"\0any\0bytes\0")
    store.put(b"empty", b"")
    assert store.get(b"user:17") == b"Ada" and store.get(b"empty") == b"" and store.get(b"user:19") is None

    info = store.info(b"user:17")
    assert info.value_size == 3 and info.sequence == first and info.expire_at_ms > library.now_ms(store.handle)
    assert fails(store.info, b"user:19").result == NOT_FOUND

    with store.snapshot() as then:
        store.delete(b"user:17")
        assert store.get(b"user:17") is None and then(b"user:17") == b"Ada" and then(b"user:19") is None
        assert fails(store.close).result == BUSY
    assert list(store.items(b"user:")) == [(b"user:18", b"\0any\0bytes\0")]
    assert [key for key, _ in store.items()] == [b"empty", b"user:18"]
    assert store.fold(lambda key, value, total: total + len(key) + len(value), 0) == 5 + 0 + 7 + 11
    assert isinstance(fails(store.fold, lambda key, value, total: 1 // 0, 0), ZeroDivisionError)
    store.close()

    store = Store(library, directory)
    assert store.get(b"user:18") == b"\0any\0bytes\0"
    store.close()
    print(f"all as expected, libbitcask {library.version().decode()}")


def main():
    library = Library(sys.argv[1] if len(sys.argv) > 1 else ctypes.util.find_library("bitcask") or "libbitcask.so.0")
    if len(sys.argv) > 2:
        demo(library, sys.argv[2])
    else:
        with tempfile.TemporaryDirectory() as directory:
            demo(library, directory)


if __name__ == "__main__":
    main()
