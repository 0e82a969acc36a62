// The head of a log object, and reading. Writing is in log_writer.cc.
#include "repository/log_object.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "crypto/aead.h"
#include "repository/compression.h"
#include "repository/fields.h"
#include "repository/log_format.h"

namespace holdfast::repository {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kFirstRead = 16 * 1024;      // head and metadata of most objects
constexpr std::size_t kWindow = 16 * 1024 * 1024;  // a compressed segment in one read

[[noreturn]] void refuse(std::string_view name, std::string_view problem) {
  throw Error(ErrorKind::kDamaged, fmt::format("{} {}", name, problem));
}

LogInfo decode_metadata(std::string_view name, base::ByteView body) {
  base::ByteReader reader(body, name);
  LogInfo info;
  info.length_bytes = reader.varint();
  info.digest = read_array<32>(reader);
  info.archived = read_time(reader, name);
  const base::ByteView content = reader.bytes();
  info.inline_content.assign(content.begin(), content.end());
  const std::size_t sections = reader.count(2);
  for (std::size_t i = 0; i < sections; ++i) {
    LogSection section;
    section.name = reader.string();
    const base::ByteView bytes = reader.bytes();
    section.content.assign(bytes.begin(), bytes.end());
    info.sections.push_back(std::move(section));
  }
  reader.expect_end();
  if (!info.inline_content.empty() && info.inline_content.size() != info.length_bytes) {
    refuse(name, "has an impossible length");
  }
  return info;
}

struct Opened {
  LogHead head;
  LogInfo info;
  std::size_t frames_offset = 0;
};

// Reads and authenticates all but the frames.
std::optional<Opened> open_log(const Context& context, std::string_view name) {
  base::Bytes bytes(kFirstRead);
  const auto got = context.storage.read(name, 0, bytes);
  if (!got) return std::nullopt;
  bytes.resize(*got);

  base::ByteReader reader(bytes, name);
  expect_magic(reader, kLogMagic, name);
  Opened opened;
  opened.head.public_key = read_array<32>(reader);
  opened.head.sealed_key = read_array<kSealedKeySize>(reader);
  opened.head.salt = read_array<32>(reader);
  const std::uint32_t sealed_size = reader.u32();
  if (sealed_size < crypto::kTagSize || sealed_size > kMaxSealedMetadata) {
    refuse(name, "has metadata of an impossible length");
  }
  opened.frames_offset = kLogHeadSize + sealed_size;
  if (opened.frames_offset > bytes.size()) {
    // The object must be that long before memory is taken for it.
    const auto stat = context.storage.stat(name);
    if (!stat) return std::nullopt;
    if (stat->size_bytes < opened.frames_offset) refuse(name, "is cut off");
    const std::size_t have = bytes.size();
    bytes.resize(opened.frames_offset);
    const auto rest = context.storage.read(name, have, base::MutableByteView(bytes).subspan(have));
    if (!rest) return std::nullopt;
    if (*rest != bytes.size() - have) refuse(name, "is cut off");
  }
  const base::ByteView sealed = base::ByteView(bytes).subspan(kLogHeadSize, sealed_size);
  base::Bytes body(sealed_size - crypto::kTagSize);
  if (!metadata_aead(context, opened.head)
           .open(crypto::Nonce{}, metadata_associated_data(context, name, opened.head), sealed,
                 body)) {
    refuse(name, "does not authenticate: it was damaged, altered or moved");
  }
  opened.info = decode_metadata(name, body);
  return opened;
}

crypto::AeadKey open_data_key(const Context& context, std::string_view name, const LogHead& head) {
  const crypto::ExchangeKey* secret = context.keyring.secret_for(head.public_key);
  if (!secret && !context.keyring.can_read_data()) {
    throw Error(ErrorKind::kRefused, fmt::format("{} cannot be read with a write-only key", name),
                "Use the repository's key file or passphrase, or a full export of its keys.");
  }
  if (!secret) {
    throw Error(ErrorKind::kKey, fmt::format("{} is sealed to a key that this one lacks", name),
                "The data key was rotated after this key was exported: export it again.");
  }
  auto key =
      crypto::open_sealed(*secret, kLogKeyContext, log_binding(context, name), head.sealed_key);
  if (!key || key->size() != crypto::AeadKey::kSize) {
    refuse(name, "does not authenticate: its data key cannot be opened");
  }
  const WipedBytes wiped(std::move(*key));
  return crypto::AeadKey(base::ByteView(wiped.bytes).first<crypto::AeadKey::kSize>());
}

// The bytes of an object from an offset to its end, through a window that one ranged read fills.
class Window {
 public:
  Window(storage::Storage& storage, std::string_view name, std::uint64_t from, std::uint64_t to)
      : storage_(storage),
        name_(name),
        next_(from),
        end_(to),
        buffer_(std::min<std::uint64_t>(to - from, kWindow)) {}

  std::uint64_t left() const { return end_ - next_ + (filled_ - used_); }

  // The next `size` bytes, valid until the next call. The caller has compared with left().
  base::ByteView take(std::size_t size) {
    if (filled_ - used_ < size) refill();
    const base::ByteView view(buffer_.data() + used_, size);
    used_ += size;
    return view;
  }

 private:
  void refill() {
    std::copy(buffer_.data() + used_, buffer_.data() + filled_, buffer_.data());
    filled_ -= used_;
    used_ = 0;
    const auto wanted = static_cast<std::size_t>(
        std::min<std::uint64_t>(buffer_.capacity() - filled_, end_ - next_));
    const auto got = storage_.read(name_, next_, buffer_.span().subspan(filled_, wanted));
    if (!got || *got != wanted) refuse(name_, "was removed or cut off while it was read");
    filled_ += wanted;
    next_ += wanted;
  }

  storage::Storage& storage_;
  std::string_view name_;
  std::uint64_t next_;  // in the object: behind what is in the window
  std::uint64_t end_;
  base::AlignedBuffer buffer_;
  std::size_t used_ = 0;
  std::size_t filled_ = 0;
};

// Opens frame after frame.
class FrameReader {
 public:
  FrameReader(const Context& context, std::string_view name, const crypto::AeadKey& key)
      : name_(name), aead_(key), binding_(log_binding(context, name)), plain_(kMaxFrame) {}

  // The plain content, valid until the next call.
  base::ByteView next(Window& window) {
    if (window.left() < kFrameHeadSize) refuse(name_, "is cut off");
    const base::ByteView head = window.take(kFrameHeadSize);
    base::Bytes associated = binding_;
    associated.insert(associated.end(), head.begin(), head.end());
    base::ByteReader reader(head, name_);
    const std::uint8_t codec = reader.u8();
    const std::size_t length = reader.u32();
    const std::size_t stored = reader.u32();
    if (length == 0 || length > kMaxFrame || stored <= crypto::kTagSize ||
        stored > kMaxFrame + crypto::kTagSize || stored > window.left()) {
      refuse(name_, fmt::format("has a frame {} of an impossible length", number_));
    }
    const bool last = stored == window.left();
    text_.resize(stored - crypto::kTagSize);
    const base::ByteView sealed = window.take(stored);
    if (!aead_.open(crypto::counter_nonce(number_, last), associated, sealed, text_)) {
      refuse(name_, fmt::format("does not authenticate: its frame {} was damaged, altered or "
                                "moved, or frames are missing",
                                number_));
    }
    const base::MutableByteView plain = plain_.span().first(length);
    if (!unpack(codec, plain))
      refuse(name_, fmt::format("has a frame {} that cannot be unpacked", number_));
    ++number_;
    return codec == kCodecNone ? base::ByteView(text_) : base::ByteView(plain);
  }

 private:
  bool unpack(std::uint8_t codec, base::MutableByteView plain) {
    if (codec == kCodecNone) return text_.size() == plain.size();
    return codec == kCodecZstd && decompressor_.decompress(text_, plain);
  }

  std::string_view name_;
  crypto::Aead aead_;
  base::Bytes binding_;
  Decompressor decompressor_;
  base::Bytes text_;  // as compressed
  base::AlignedBuffer plain_;
  std::uint32_t number_ = 0;
};

}  // namespace

const base::Bytes* LogInfo::section(std::string_view name) const {
  for (const LogSection& candidate : sections) {
    if (candidate.name == name) return &candidate.content;
  }
  return nullptr;
}

std::optional<LogInfo> stat_log(const Context& context, std::string_view name) {
  auto opened = open_log(context, name);
  if (!opened) return std::nullopt;
  return std::move(opened->info);
}

std::optional<LogInfo> read_log(const Context& context, std::string_view name,
                                const std::function<void(base::ByteView)>& piece, LogCheck check) {
  auto opened = open_log(context, name);
  if (!opened) return std::nullopt;
  const LogInfo& info = opened->info;
  const auto stat = context.storage.stat(name);
  if (!stat) return std::nullopt;
  if (stat->size_bytes < opened->frames_offset) refuse(name, "is cut off");

  LogDigest digest(context.keyring);
  std::uint64_t length = 0;
  const auto deliver = [&](base::ByteView content) {
    length += content.size();
    if (check == LogCheck::kDigest) digest.add_frame(content);
    piece(content);
  };
  Window window(context.storage, name, opened->frames_offset, stat->size_bytes);
  if (!info.inline_content.empty()) {
    if (window.left() > 0) refuse(name, "has bytes behind its end");
    deliver(info.inline_content);
  } else if (window.left() > 0) {
    const crypto::AeadKey key = open_data_key(context, name, opened->head);
    FrameReader frames(context, name, key);
    while (window.left() > 0) deliver(frames.next(window));
  }
  if (length != info.length_bytes) refuse(name, "does not hold as much as it says");
  if (check == LogCheck::kDigest && digest.finish(length) != info.digest) {
    refuse(name, "does not hold the content that was archived: its digest is another");
  }
  return std::move(opened->info);
}

}  // namespace holdfast::repository
