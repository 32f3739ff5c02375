// raii.hpp - libbitcask for C++17: handles that close themselves, errors as exceptions. Copy it and make it yours.
//
// What is not found is no error: get() returns an empty optional, erase() false. A view, snapshot or iterator must be gone
// before its store, but for views, which may stay.
#ifndef RAII_HPP
#define RAII_HPP

#include <bitcask/bitcask.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace kv
{

class error : public std::runtime_error
{
  public:
    explicit error(int code) : std::runtime_error(bitcask_last_error()->message), code_(code) {}
    int code() const noexcept { return code_; }

  private:
    int code_;
};

inline void check(int result)
{
    if (result != BITCASK_OK)
        throw error(result);
}

// The answer to a question: false for "no" (absent), an exception for everything that is wrong.
inline bool found(int result)
{
    if (result == BITCASK_NOT_FOUND)
        return false;
    check(result);
    return true;
}

inline std::string_view text(bitcask_slice slice)
{
    return {static_cast<const char *>(slice.data), slice.size};
}

// Borrowed bytes of a value, valid as long as this lives.
class view
{
  public:
    explicit view(const bitcask_view &taken) noexcept : view_(taken) {}
    view(view &&other) noexcept : view_(std::exchange(other.view_, bitcask_view{})) {}
    view &operator=(view &&other) noexcept
    {
        std::swap(view_, other.view_);
        return *this;
    }
    ~view() { bitcask_view_release(&view_); }

    std::string_view bytes() const noexcept { return {static_cast<const char *>(view_.data), view_.size}; }
    std::uint64_t sequence() const noexcept { return view_.sequence; }
    std::int64_t expire_at_ms() const noexcept { return view_.expire_at_ms; }

  private:
    bitcask_view view_;
};

struct snapshot_release {
    void operator()(bitcask_snapshot *snapshot) const noexcept { bitcask_snapshot_release(snapshot); }
};

class snapshot
{
  public:
    explicit snapshot(bitcask *db)
    {
        bitcask_snapshot *taken;
        check(bitcask_snapshot_new(db, &taken));
        snapshot_.reset(taken);
    }
    std::optional<view> get(std::string_view key) const
    {
        bitcask_view taken;
        if (!found(bitcask_snapshot_view(snapshot_.get(), key.data(), key.size(), &taken)))
            return std::nullopt;
        return view(taken);
    }
    bitcask_snapshot *handle() const noexcept { return snapshot_.get(); }

  private:
    std::unique_ptr<bitcask_snapshot, snapshot_release> snapshot_;
};

struct iter_free {
    void operator()(bitcask_iter *iter) const noexcept { bitcask_iter_free(iter); }
};

// Stands before the first key: while (it.next()) use(it.key(), it.value()).
class iterator
{
  public:
    iterator(bitcask *db, const bitcask_iter_options &options)
    {
        bitcask_iter *made;
        check(bitcask_iter_new(db, &options, &made));
        iter_.reset(made);
    }
    bool next() { return found(bitcask_iter_next(iter_.get())); }
    std::string_view key() const noexcept { return text(bitcask_iter_key(iter_.get())); }
    std::string_view value() const
    {
        bitcask_slice value;
        check(bitcask_iter_value(iter_.get(), &value));
        return text(value);
    }

  private:
    std::unique_ptr<bitcask_iter, iter_free> iter_;
};

class store
{
  public:
    explicit store(const std::string &dir, const bitcask_options &options = BITCASK_OPTIONS_INIT)
    {
        bitcask *db;
        check(bitcask_open(dir.c_str(), &options, &db));
        db_.reset(db);
    }

    // The destructor closes, too, but cannot say that the last sync failed. Throws BUSY while a snapshot or an iterator is
    // alive; the store stays open then. After any other failure it is closed.
    void close()
    {
        int result = bitcask_close(db_.get());
        if (result != BITCASK_BUSY)
            (void)db_.release();
        check(result);
    }

    std::uint64_t put(std::string_view key, std::string_view value, bitcask_put_options options = BITCASK_PUT_OPTIONS_INIT)
    {
        std::uint64_t sequence;
        check(bitcask_put(db_.get(), key.data(), key.size(), value.data(), value.size(), &options, &sequence));
        return sequence;
    }

    // False: the condition in options does not hold.
    bool put_if(std::string_view key, std::string_view value, const bitcask_put_options &options)
    {
        int result = bitcask_put(db_.get(), key.data(), key.size(), value.data(), value.size(), &options, nullptr);
        if (result == BITCASK_CONDITION)
            return false;
        check(result);
        return true;
    }

    std::optional<view> get(std::string_view key) const
    {
        bitcask_view taken;
        if (!found(bitcask_view_get(db_.get(), key.data(), key.size(), &taken)))
            return std::nullopt;
        return view(taken);
    }

    bool erase(std::string_view key) { return found(bitcask_delete(db_.get(), key.data(), key.size(), nullptr, nullptr)); }
    void sync() { check(bitcask_sync(db_.get())); }
    std::int64_t now_ms() const noexcept { return bitcask_now_ms(db_.get()); }
    kv::snapshot snapshot() const { return kv::snapshot(db_.get()); }
    iterator iterate(const bitcask_iter_options &options = BITCASK_ITER_OPTIONS_INIT) const { return {db_.get(), options}; }
    bitcask *handle() const noexcept { return db_.get(); }

  private:
    struct closer {
        void operator()(bitcask *db) const noexcept { (void)bitcask_close(db); }
    };
    std::unique_ptr<bitcask, closer> db_;
};

} // namespace kv

#endif
