// raii_demo.cpp - raii.hpp at work. Argument: where the store goes.
//
// c++ -std=c++17 raii_demo.cpp $(pkg-config --cflags --libs bitcask) -o raii_demo && ./raii_demo sessions
#include "raii.hpp"

#include <cstring>
#include <iostream>

static void expect(bool good, const char *what)
{
    if (!good)
        throw std::logic_error(what);
}

static void conditions(kv::store &db)
{
    bitcask_put_options absent = BITCASK_PUT_OPTIONS_INIT;
    absent.flags = BITCASK_PUT_IF_ABSENT;
    absent.expire_at_ms = db.now_ms() + 60000;
    expect(db.put_if("lock", "me", absent), "the lock is free");
    expect(!db.put_if("lock", "you", absent), "the lock is taken");

    auto held = db.get("lock");
    expect(held && held->bytes() == "me" && held->expire_at_ms() == absent.expire_at_ms, "who holds it");
    bitcask_put_options same = BITCASK_PUT_OPTIONS_INIT;
    same.flags = BITCASK_PUT_IF_SEQUENCE;
    same.sequence = held->sequence();
    expect(db.put_if("lock", "you", same), "handed over");
    expect(!db.put_if("lock", "him", same), "and not twice");
    expect(held->bytes() == "me", "a view does not change");
}

static void moments(kv::store &db)
{
    db.put("a", "1");
    db.put("b", "2");
    auto before = db.snapshot();
    expect(db.erase("a") && !db.erase("a"), "deleted once");
    expect(!db.get("a"), "and gone");
    auto then = before.get("a");
    expect(then && then->bytes() == "1", "but not in the snapshot");

    bitcask_iter_options sorted = BITCASK_ITER_OPTIONS_INIT;
    sorted.flags = BITCASK_ITER_SORTED;
    sorted.snapshot = before.handle();
    std::string all;
    auto it = db.iterate(sorted);
    while (it.next())
        all += std::string(it.key()) + "=" + std::string(it.value()) + " ";
    expect(all == "a=1 b=2 lock=you ", "all keys of that moment, in order");
}

static void errors(kv::store &db, const std::string &dir)
{
    try {
        kv::store second(dir);
    } catch (const kv::error &locked) {
        expect(locked.code() == BITCASK_LOCKED && std::strlen(locked.what()) > 0, "a second writer");
        auto open = db.snapshot();
        try {
            db.close();
        } catch (const kv::error &busy) {
            expect(busy.code() == BITCASK_BUSY && db.get("b"), "a snapshot holds the store open");
            return;
        }
    }
    throw std::logic_error("an error was expected");
}

int main(int argc, char **argv)
try {
    const std::string dir = argc > 1 ? argv[1] : "sessions";
    kv::store db(dir);
    kv::check(bitcask_clear(db.handle(), 0));
    conditions(db);
    moments(db);
    errors(db, dir);
    auto kept = db.get("b");
    db.close();
    expect(kept && kept->bytes() == "2", "a view outlives the store");
    std::cout << "all as expected, libbitcask " << bitcask_version() << '\n';
    return 0;
} catch (const std::exception &failure) {
    std::cerr << failure.what() << '\n';
    return 1;
}
