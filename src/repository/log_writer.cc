// Writing log objects. A WAL segment passes here while the server waits, so its frames are hashed,
// compressed and sealed on several threads, each straight into its place in the one buffer that is
// put.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/concurrency.h"
#include "base/error.h"
#include "repository/compression.h"
#include "repository/fields.h"
#include "repository/log_format.h"
#include "repository/log_object.h"

namespace holdfast::repository {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kMaxInline = 1024 * 1024;
// What a frame can take in the object: its content as it is.
constexpr std::size_t kFrameRoom = kFrameHeadSize + kFrameSize + crypto::kTagSize;

std::size_t frame_count(base::ByteView data) { return (data.size() + kFrameSize - 1) / kFrameSize; }

base::ByteView frame_of(base::ByteView data, std::size_t number) {
  const std::size_t offset = number * kFrameSize;
  return data.subspan(offset, std::min(kFrameSize, data.size() - offset));
}

crypto::Digest digest_of(const Keyring& keyring, base::ByteView data) {
  LogDigest digest(keyring);
  for (std::size_t i = 0; i < frame_count(data); ++i) digest.add_frame(frame_of(data, i));
  return digest.finish(data.size());
}

// What the name holds already, compared with `data`; nullopt if it is free. Hashes only where it is
// not.
std::optional<LogPut> compare(const Context& context, std::string_view name, base::ByteView data) {
  const auto info = stat_log(context, name);
  if (!info) return std::nullopt;
  const bool same =
      info->length_bytes == data.size() && info->digest == digest_of(context.keyring, data);
  return same ? LogPut::kSame : LogPut::kDifferent;
}

base::Bytes encode_metadata(const LogInfo& info) {
  base::ByteWriter writer;
  writer.varint(info.length_bytes);
  writer.raw(info.digest);
  write_time(writer, info.archived);
  writer.bytes(info.inline_content);
  writer.varint(info.sections.size());
  for (const LogSection& section : info.sections) {
    writer.string(section.name);
    writer.bytes(section.content);
  }
  base::Bytes body = writer.take();
  if (body.size() + crypto::kTagSize > kMaxSealedMetadata) {
    throw Error(ErrorKind::kFailed, "a log object's metadata would be larger than 16 MiB");
  }
  return body;
}

LogHead make_head(const Context& context, std::string_view name, const crypto::AeadKey& data_key) {
  LogHead head;
  head.public_key = context.keyring.writing_key();
  const base::Bytes sealed =
      crypto::seal_to(head.public_key, kLogKeyContext, log_binding(context, name), data_key.bytes(),
                      context.random);
  std::copy(sealed.begin(), sealed.end(), head.sealed_key.begin());
  context.random.fill(head.salt);
  return head;
}

// Writes the head and the sealed metadata to the front of `out`.
void write_front(const Context& context, std::string_view name, const LogHead& head,
                 base::ByteView metadata, base::MutableByteView out) {
  base::ByteWriter writer;
  writer.raw(base::as_bytes(kLogMagic));
  writer.raw(head.public_key);
  writer.raw(head.sealed_key);
  writer.raw(head.salt);
  const std::size_t sealed_size = metadata.size() + crypto::kTagSize;
  writer.u32(static_cast<std::uint32_t>(sealed_size));
  const base::ByteView bytes = writer.view();
  std::copy(bytes.begin(), bytes.end(), out.begin());
  metadata_aead(context, head)
      .seal(crypto::Nonce{}, metadata_associated_data(context, name, head), metadata,
            out.subspan(bytes.size(), sealed_size));
}

// Makes the frames of `data` on several threads, each in a room of kFrameRoom bytes of its own.
class FrameWriter {
 public:
  FrameWriter(const Context& context, std::string_view name, base::ByteView data,
              const crypto::AeadKey& key, base::MutableByteView rooms)
      : context_(context),
        data_(data),
        key_(key),
        binding_(log_binding(context, name)),
        rooms_(rooms),
        count_(frame_count(data)),
        sizes_(count_),
        hashes_(count_ * 32) {}

  void run(int threads) {
    const auto useful = static_cast<std::size_t>(std::max(threads, 1));
    if (std::min(useful, count_) <= 1) {
      work({});
      return;
    }
    base::WorkerGroup group;
    for (std::size_t i = 0; i < std::min(useful, count_); ++i) {
      group.start([this](std::stop_token stop) { work(stop); });
    }
    group.join();
  }

  // After run(): moves the frames together, and gives the size of all.
  std::size_t close_gaps() {
    std::size_t end = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      const std::uint8_t* from = rooms_.data() + i * kFrameRoom;
      std::copy(from, from + sizes_[i], rooms_.data() + end);
      end += sizes_[i];
    }
    return end;
  }

  crypto::Digest digest() const { return log_digest(context_.keyring, data_.size(), hashes_); }

 private:
  // One thread's share: the frames that no other has taken yet.
  void work(const std::stop_token& stop) {
    Compressor compressor(context_.compression_level);
    crypto::Aead aead(key_);
    crypto::PrefixedHash hash = log_frame_hash(context_.keyring);
    for (std::size_t i = next_++; i < count_ && !stop.stop_requested(); i = next_++) {
      const base::ByteView plain = frame_of(data_, i);
      hash.digest(plain, std::span(hashes_).subspan(i * 32).first<32>());
      sizes_[i] = write_frame(i, plain, compressor, aead);
    }
  }

  std::size_t write_frame(std::size_t number, base::ByteView plain, Compressor& compressor,
                          crypto::Aead& aead) {
    const base::MutableByteView room =
        rooms_.subspan(number * kFrameRoom, kFrameHeadSize + plain.size() + crypto::kTagSize);
    const base::MutableByteView body = room.subspan(kFrameHeadSize);
    const auto packed = compressor.compress(plain, body.first(plain.size()));
    const base::ByteView text = packed ? base::ByteView(body.first(*packed)) : plain;
    const std::size_t stored = text.size() + crypto::kTagSize;

    base::ByteWriter head;
    head.u8(packed ? kCodecZstd : kCodecNone);
    head.u32(static_cast<std::uint32_t>(plain.size()));
    head.u32(static_cast<std::uint32_t>(stored));
    std::copy(head.view().begin(), head.view().end(), room.begin());
    base::Bytes associated = binding_;
    associated.insert(associated.end(), head.view().begin(), head.view().end());
    aead.seal(crypto::counter_nonce(static_cast<std::uint32_t>(number), number + 1 == count_),
              associated, text, body.first(stored));
    return kFrameHeadSize + stored;
  }

  const Context& context_;
  base::ByteView data_;
  const crypto::AeadKey& key_;
  base::Bytes binding_;
  base::MutableByteView rooms_;
  std::size_t count_;
  std::atomic<std::size_t> next_{0};
  std::vector<std::size_t> sizes_;  // of each frame, in its room
  base::Bytes hashes_;              // of each frame, 32 bytes
};

LogPut put_and_compare(const Context& context, std::string_view name, base::ByteView object,
                       base::ByteView data) {
  if (context.storage.put(name, object) == storage::PutResult::kCreated) return LogPut::kCreated;
  const auto there = compare(context, name, data);  // another was faster
  if (there) return *there;
  throw Error(ErrorKind::kFailed, fmt::format("{} vanished while it was compared", name));
}

}  // namespace

LogPut put_log(const Context& context, std::string_view name, base::ByteView data,
               std::vector<LogSection> sections, int threads) {
  // Far away, asking costs more than a try, and hardly ever is it there.
  if (context.storage.requests_at_once() == 1) {
    if (const auto there = compare(context, name, data)) return *there;
  }

  LogInfo info;
  info.length_bytes = data.size();
  info.archived = context.clock.now();
  info.sections = std::move(sections);
  crypto::AeadKey data_key;
  context.random.fill(data_key.writable());
  const LogHead head = make_head(context, name, data_key);

  // The metadata stands before the frames and tells their digest; its size is known before.
  const std::size_t front = kLogHeadSize + encode_metadata(info).size() + crypto::kTagSize;
  base::AlignedBuffer object(front + frame_count(data) * kFrameRoom);
  FrameWriter frames(context, name, data, data_key, object.span().subspan(front));
  frames.run(threads);
  const std::size_t frames_size = frames.close_gaps();
  info.digest = frames.digest();
  write_front(context, name, head, encode_metadata(info), object.span());
  return put_and_compare(context, name, object.span().first(front + frames_size), data);
}

LogPut put_inline_log(const Context& context, std::string_view name, base::ByteView content,
                      std::vector<LogSection> sections) {
  if (content.size() > kMaxInline) {
    throw Error(ErrorKind::kFailed,
                fmt::format("{} is {} bytes long: too much for its kind", name, content.size()));
  }
  if (const auto there = compare(context, name, content)) return *there;

  LogInfo info;
  info.length_bytes = content.size();
  info.digest = digest_of(context.keyring, content);
  info.archived = context.clock.now();
  info.inline_content.assign(content.begin(), content.end());
  info.sections = std::move(sections);
  crypto::AeadKey data_key;  // for no frames; the head is the same for all
  context.random.fill(data_key.writable());
  const base::Bytes metadata = encode_metadata(info);
  base::Bytes object(kLogHeadSize + metadata.size() + crypto::kTagSize);
  write_front(context, name, make_head(context, name, data_key), metadata, object);
  return put_and_compare(context, name, object, content);
}

}  // namespace holdfast::repository
