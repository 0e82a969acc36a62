#include "repository/keyring.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "crypto/seal.h"
#include "fixture.h"
#include "repository/fields.h"
#include "repository/typed_lines.h"
#include "storage/damage.h"
#include "storage/fault_storage.h"

namespace holdfast::repository {
namespace {

using base::ErrorKind;
using testing::ElementsAre;
using testing::HasSubstr;

bool same_keys(const Keyring& a, const Keyring& b) {
  return encode_keyring(a) == encode_keyring(b);
}

Credential passphrase(std::string text) {
  Credential credential;
  credential.kind = Credential::Kind::kPassphrase;
  credential.passphrase = crypto::SecretText(std::move(text));
  return credential;
}

crypto::SecretText text_of(std::string text) { return crypto::SecretText(std::move(text)); }

// A keyring in a storage, with a slot for a key file.
class KeySlotTest : public testing::Test {
 protected:
  SlotId add(const Credential& credential, const Keyring& what, std::string_view label = "") {
    return add_key_slot(storage, what, credential, label, repository.clock.now(),
                        repository.random);
  }
  std::string only_slot() { return storage::names_in(storage, "keys/").at(0); }

  TestRepository repository;
  storage::Storage& storage = *repository.storage;
  Keyring& keyring = repository.keyring;
  Credential key_file = parse_key_file(make_key_file(repository.random));
  Credential other_key_file = parse_key_file(make_key_file(repository.random));
};

// ---- the keyring and key files

TEST(KeyringTest, ComesBackAsItWas) {
  TestRepository repository;
  repository.keyring.add_data_key(repository.random);
  const Keyring again = decode_keyring(encode_keyring(repository.keyring));
  EXPECT_TRUE(same_keys(again, repository.keyring));
  EXPECT_TRUE(again.can_read_data());
  EXPECT_NE(again.secret_for(again.data[0].public_key), nullptr);
  EXPECT_NE(again.secret_for(again.data[1].public_key), nullptr);
  EXPECT_EQ(again.secret_for(crypto::PublicKey{}), nullptr);
  EXPECT_EQ(again.writing_key(), again.data[1].public_key);
}

TEST(KeyringTest, WriteOnlyHoldsNoSecretHalf) {
  TestRepository repository;
  const Keyring keyring = decode_keyring(encode_keyring(repository.write_only));
  EXPECT_FALSE(keyring.can_read_data());
  EXPECT_EQ(keyring.secret_for(keyring.writing_key()), nullptr);
  EXPECT_EQ(keyring.writing_key(), repository.keyring.writing_key());
  const base::Bytes bytes = encode_keyring(keyring);
  const auto secret = repository.keyring.data[0].secret_key->bytes();
  EXPECT_EQ(std::search(bytes.begin(), bytes.end(), secret.begin(), secret.end()), bytes.end());
}

TEST(KeyringTest, RefusesWhatIsCutOffOrHostile) {
  TestRepository repository;
  const base::Bytes good = encode_keyring(repository.keyring);
  for (std::size_t size = 0; size < good.size(); ++size) {
    const base::Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_EQ(error_of([&] { decode_keyring(cut); }).kind(), ErrorKind::kDamaged) << size;
  }
  base::Bytes longer = good;
  longer.push_back(0);
  EXPECT_EQ(error_of([&] { decode_keyring(longer); }).kind(), ErrorKind::kDamaged);

  base::Bytes many(good.begin(), good.begin() + 81);  // up to the number of pairs
  for (int i = 0; i < 9; ++i) many.push_back(0xff);
  many.push_back(1);
  EXPECT_EQ(error_of([&] { decode_keyring(many); }).kind(), ErrorKind::kDamaged);

  base::Bytes mixed = good;  // a public half that is not of the secret half
  mixed[82] ^= 1;
  EXPECT_EQ(error_of([&] { decode_keyring(mixed); }).kind(), ErrorKind::kDamaged);
}

TEST(KeyFileTest, IsOneLineBehindAComment) {
  RepeatableRandom random;
  const crypto::SecretText text = make_key_file(random);
  EXPECT_THAT(std::string(text.view()),
              testing::MatchesRegex("# [^\n]*\nholdfast-key-1 KEYFILE [A-Za-z0-9+/=]*\n"));
  const Credential credential = parse_key_file(text);
  EXPECT_EQ(credential.kind, Credential::Kind::kKeyFile);
  ASSERT_TRUE(credential.key_file_secret);
}

TEST(KeyFileTest, MayBeBrokenIntoLines) {
  RepeatableRandom random;
  const crypto::SecretText text = make_key_file(random);
  std::string broken(text.view());
  broken.insert(broken.size() - 20, "\r\n");
  broken.insert(broken.size() - 10, "\n# a comment\n\n");
  const Credential credential = parse_key_file(text_of(broken));
  EXPECT_TRUE(std::ranges::equal(credential.key_file_secret->bytes(),
                                 parse_key_file(text).key_file_secret->bytes()));
}

TEST(KeyFileTest, CarriesAWholeKeyring) {
  TestRepository repository;
  const Credential full = parse_key_file(export_key_file(repository.keyring));
  ASSERT_EQ(full.kind, Credential::Kind::kExported);
  EXPECT_TRUE(same_keys(*full.exported, repository.keyring));
  const crypto::SecretText write_only_text = export_key_file(repository.write_only);
  EXPECT_THAT(std::string(write_only_text.view()), HasSubstr("holdfast-key-1 WRITE-ONLY "));
  EXPECT_TRUE(same_keys(*parse_key_file(write_only_text).exported, repository.write_only));
}

TEST(KeyFileTest, RefusesEveryAlteredCharacter) {
  TestRepository repository;
  for (const crypto::SecretText& text :
       {make_key_file(repository.random), export_key_file(repository.write_only)}) {
    const std::string good(text.view());
    for (std::size_t i = good.find('\n') + 1; i < good.size(); ++i) {
      std::string bad = good;
      bad[i] = bad[i] == 'A' ? 'B' : 'A';
      const base::Error error = error_of([&] { parse_key_file(text_of(bad)); });
      EXPECT_EQ(error.kind(), ErrorKind::kKey) << bad;
      EXPECT_FALSE(error.hint().empty());
      EXPECT_THAT(error.what(), testing::Not(HasSubstr(good.substr(good.size() - 12, 8))));
    }
  }
}

TEST(KeyFileTest, RefusesWhatIsNoKeyFile) {
  TestRepository repository;
  std::string full(export_key_file(repository.keyring).view());
  full.replace(full.find("FULL"), 4, "WRITE-ONLY");  // would hide that it reads everything
  for (const std::string& text :
       {std::string(), std::string("# only a comment\n"), std::string("holdfast-key-1"),
        std::string("holdfast-key-1 KEYFILE"), std::string("holdfast-key-1 KEYFILE AAAA"),
        std::string("holdfast-key-2 KEYFILE AAAA"), std::string(1 << 16, 'x'), full}) {
    EXPECT_EQ(error_of([&] { parse_key_file(text_of(text)); }).kind(), ErrorKind::kKey) << text;
  }
}

// ---- a key on paper

// The example in docs/format.md, made by hand from what stands there.
constexpr std::string_view kPrinted =
    "holdfast-key-1 KEYFILE 2 lines\n"
    "  1: 000G 40R4 0M30 E209 185G R38E 1W81 24GK  43AS\n"
    "  2: 2GAH C5RR 34D1 P70X 3RFP 63ED 54  0W7D\n";

std::string printed(const Keyring& keyring) {
  return std::string(
      print_key_file(keyring, *base::parse_time("2024-01-17T12:00:00.5Z", {})).view());
}

std::string message_of(const std::string& text) {
  const base::Error error = error_of([&] { parse_key_file(text_of(text)); });
  EXPECT_EQ(error.kind(), ErrorKind::kKey) << text;
  EXPECT_FALSE(error.hint().empty());
  return error.what();
}

TEST(PrintedKeyTest, IsAsTheFormatSays) {
  const Credential credential = parse_key_file(text_of(std::string(kPrinted)));
  ASSERT_EQ(credential.kind, Credential::Kind::kKeyFile);
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(credential.key_file_secret->bytes()[i], i);
  const base::ByteView key = credential.key_file_secret->bytes();
  base::Bytes checked(key.begin(), key.end());
  const crypto::Digest digest = crypto::sha256(key);
  checked.insert(checked.end(), digest.begin(), digest.begin() + 4);
  EXPECT_EQ(to_typed_lines(checked).view(), kPrinted.substr(kPrinted.find('\n') + 1));
}

TEST(PrintedKeyTest, CarriesAWholeKeyring) {
  TestRepository repository;
  for (int pairs = 1; pairs <= 25; ++pairs) {  // every length of the last line, and over 99 lines
    EXPECT_TRUE(same_keys(*parse_key_file(text_of(printed(repository.keyring))).exported,
                          repository.keyring));
    const Keyring write_only = repository.keyring.write_only();
    EXPECT_TRUE(same_keys(*parse_key_file(text_of(printed(write_only))).exported, write_only));
    repository.keyring.add_data_key(repository.random);
  }
}

TEST(PrintedKeyTest, SaysWhatItIs) {
  TestRepository repository;
  const std::string text = printed(repository.keyring);
  EXPECT_THAT(text, HasSubstr("Repository " + repository.keyring.repository.hex() +
                              ", exported 2024-01-17T12:00:00Z"));
  EXPECT_THAT(text, HasSubstr("every backup"));
  EXPECT_THAT(text, HasSubstr("\nholdfast-key-1 FULL 8 lines\n  1: "));
  EXPECT_THAT(printed(repository.write_only), HasSubstr("holdfast-key-1 WRITE-ONLY 6 lines\n"));
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    EXPECT_LE(end - begin, 100u) << text.substr(begin, end - begin);
    begin = end + 1;
  }
}

TEST(PrintedKeyTest, IsReadAsPeopleType) {
  TestRepository repository;
  std::string text = printed(repository.keyring);
  const std::size_t lines = text.find("lines\n") + 6;
  std::string typed = "# typed\r\n" + text.substr(0, lines) + "\r\n";
  typed.replace(typed.find("FULL"), 4, "full");
  std::vector<std::string> turned;  // the last line first
  for (std::size_t begin = lines; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    turned.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  std::ranges::reverse(turned);
  bool spaces = false;
  for (std::string line : turned) {
    for (char& c : line) {
      if (c == '0') c = 'o';
      if (c == '1') c = spaces ? 'I' : 'l';
      c = static_cast<char>(std::tolower(c));
    }
    if (spaces) std::erase(line, ' ');
    spaces = !spaces;
    typed += line + " \r\n\n";
  }
  EXPECT_TRUE(same_keys(*parse_key_file(text_of(typed)).exported, repository.keyring)) << typed;
}

TEST(PrintedKeyTest, EveryMistypedCharacterIsNamedByItsLine) {
  TestRepository repository;
  const std::string good = printed(repository.write_only);
  std::size_t line = 0;
  for (std::size_t i = good.find("lines\n") + 5; i + 1 < good.size(); ++i) {
    if (good[i] == '\n') {
      ++line;
      i += 5;  // "  1: "
      continue;
    }
    if (good[i] == ' ') continue;
    for (const char other : {'A', '7', '!'}) {
      if (good[i] == other) continue;
      std::string bad = good;
      bad[i] = other;
      EXPECT_THAT(message_of(bad),
                  testing::EndsWith("line " + std::to_string(line) + " is mistyped"))
          << bad;
    }
  }
  EXPECT_EQ(line, 6u);
}

TEST(PrintedKeyTest, NamesAllLinesThatAreWrong) {
  TestRepository repository;
  const std::string good = printed(repository.keyring);
  const auto line_at = [&](int number) {
    return good.find("\n  " + std::to_string(number) + ": ") + 1;
  };
  std::string bad = good;
  std::swap(bad[line_at(7) + 6], bad[line_at(7) + 8]);
  bad.erase(line_at(3), line_at(4) - line_at(3));
  EXPECT_THAT(message_of(bad), HasSubstr("line 3 is missing, line 7 is mistyped"));
  EXPECT_THAT(message_of(good + good.substr(line_at(2), line_at(3) - line_at(2))),
              HasSubstr("line 2 is there twice"));
  bad = good;
  bad.replace(line_at(4), 3, "  9");
  EXPECT_THAT(message_of(bad), HasSubstr("does not begin with its number, line 4 is missing"));
  bad = good;  // two lines in each other's place
  bad[line_at(4) + 2] = '5';
  bad[line_at(5) + 2] = '4';
  EXPECT_THAT(message_of(bad), HasSubstr("line 4 is mistyped, line 5 is mistyped"));
  for (std::size_t size = good.find("holdfast-key"); size + 1 < good.size(); ++size) {
    const std::string message = message_of(good.substr(0, size));
    EXPECT_THAT(message, testing::Not(HasSubstr(good.substr(line_at(1) + 5, 9))));
  }
}

TEST(PrintedKeyTest, HostileLinesAreRefused) {
  for (const std::string& text :
       {std::string("holdfast-key-1 FULL 0 lines\n"),
        std::string("holdfast-key-1 FULL 1 lines\n1:"),
        std::string("holdfast-key-1 FULL 4000000000 lines\n1: AAAA AAAA\n"),
        std::string("holdfast-key-1 FULL -1 lines\n"), std::string("holdfast-key-1 FULL  lines"),
        "holdfast-key-1 FULL 1 lines\n1: " + std::string(60000, 'A'),
        "holdfast-key-1 FULL 1 lines\n" + std::string(60000, '1') + ": AAAA",
        "holdfast-key-1 FULL 1000 lines\n" + std::string(60000, '\n')}) {
    message_of(text);
  }
}

// ---- slots

TEST_F(KeySlotTest, OpensForItsKeyFileAlone) {
  const SlotId id = add(key_file, keyring, "laptop");
  const OpenedKeyring opened = open_keyring(storage, key_file);
  EXPECT_TRUE(same_keys(opened.keyring, keyring));
  EXPECT_EQ(opened.slot, id);

  const base::Error error = error_of([&] { open_keyring(storage, other_key_file); });
  EXPECT_EQ(error.kind(), ErrorKind::kKey);
  EXPECT_THAT(error.hint(), HasSubstr("holdfast init"));
}

TEST_F(KeySlotTest, OpensForItsPassphraseAlone) {
  add(passphrase("correct horse"), keyring);
  EXPECT_TRUE(same_keys(open_keyring(storage, passphrase("correct horse")).keyring, keyring));
  const base::Error error = error_of([&] { open_keyring(storage, passphrase("wrong horse")); });
  EXPECT_EQ(error.kind(), ErrorKind::kKey);
  EXPECT_FALSE(error.hint().empty());
  EXPECT_THAT(error.what(), testing::Not(HasSubstr("horse")));

  const base::Error no_such = error_of([&] { open_keyring(storage, key_file); });
  EXPECT_EQ(no_such.kind(), ErrorKind::kKey);
  EXPECT_THAT(no_such.hint(), HasSubstr("passphrase"));
}

TEST_F(KeySlotTest, AreListedOldestFirst) {
  const base::Time now = repository.clock.now();
  const auto later = now + std::chrono::hours(1);
  const SlotId second =
      add_key_slot(storage, keyring.write_only(), other_key_file, "db2", later, repository.random);
  const SlotId first = add(key_file, keyring, "db1");
  const auto slots = list_key_slots(storage);
  ASSERT_EQ(slots.size(), 2u);
  EXPECT_EQ(slots[0].id, first);
  EXPECT_EQ(slots[0].label, "db1");
  EXPECT_TRUE(slots[0].full);
  EXPECT_EQ(slots[0].created, now);
  EXPECT_EQ(slots[0].kind, Credential::Kind::kKeyFile);
  EXPECT_EQ(slots[1].id, second);
  EXPECT_FALSE(slots[1].full);
  EXPECT_EQ(slots[1].created, later);
}

TEST_F(KeySlotTest, WriteOnlySlotGivesAWriteOnlyKeyring) {
  add(key_file, keyring.write_only());
  EXPECT_FALSE(open_keyring(storage, key_file).keyring.can_read_data());
}

TEST_F(KeySlotTest, RefuseALabelThatBreaksAListing) {
  EXPECT_EQ(error_of([&] { add(key_file, keyring, "two\nlines"); }).kind(), ErrorKind::kUsage);
  EXPECT_EQ(error_of([&] { add(key_file, keyring, std::string(201, 'x')); }).kind(),
            ErrorKind::kUsage);
  EXPECT_EQ(error_of([&] { add(passphrase(""), keyring); }).kind(), ErrorKind::kUsage);
  EXPECT_EQ(error_of([&] { add(parse_key_file(export_key_file(keyring)), keyring); }).kind(),
            ErrorKind::kUsage);
}

TEST_F(KeySlotTest, TheLastFullOneIsNeverRemoved) {
  const SlotId full = add(key_file, keyring);
  const SlotId write_only = add(other_key_file, keyring.write_only());
  EXPECT_EQ(error_of([&] { remove_key_slot(storage, full); }).kind(), ErrorKind::kRefused);
  EXPECT_TRUE(remove_key_slot(storage, write_only));
  EXPECT_FALSE(remove_key_slot(storage, write_only));
  const SlotId another = add(other_key_file, keyring);
  EXPECT_TRUE(remove_key_slot(storage, full));
  EXPECT_EQ(error_of([&] { remove_key_slot(storage, another); }).kind(), ErrorKind::kRefused);
  EXPECT_TRUE(same_keys(open_keyring(storage, other_key_file).keyring, keyring));
}

TEST_F(KeySlotTest, EveryDamageIsFound) {
  add(key_file, keyring, "a label");
  const std::string name = only_slot();
  const base::Bytes good = storage::content_of(storage, name);
  const auto expect_found = [&](std::string_view how) {
    std::vector<std::string> damaged;
    EXPECT_TRUE(list_key_slots(storage, &damaged).empty()) << how;
    EXPECT_THAT(damaged, ElementsAre(name)) << how;
    const base::Error error = error_of([&] { open_keyring(storage, key_file); });
    EXPECT_EQ(error.kind(), ErrorKind::kDamaged) << how;
    EXPECT_THAT(error.what(), HasSubstr(name)) << how;
  };
  for_each_bit(good.size(), 1, [&](std::size_t bit) {
    storage::flip_bit(storage, name, bit);
    expect_found("bit " + std::to_string(bit));
    storage::replace_object(storage, name, good);
  });
  for (std::size_t size = 0; size < good.size(); size += 7) {
    storage::truncate_object(storage, name, size);
    expect_found("size " + std::to_string(size));
    storage::replace_object(storage, name, good);
  }
  storage::append_to_object(storage, name, base::as_bytes("x"));
  expect_found("appended");
}

TEST_F(KeySlotTest, ADamagedOneLeavesTheOthers) {
  add(key_file, keyring);
  storage::flip_bit(storage, only_slot(), 2000);
  storage.put("keys/README", base::as_bytes("not a slot"));
  add(other_key_file, keyring);
  EXPECT_TRUE(same_keys(open_keyring(storage, other_key_file).keyring, keyring));
  std::vector<std::string> damaged;
  EXPECT_EQ(list_key_slots(storage, &damaged).size(), 1u);
  EXPECT_EQ(damaged.size(), 2u);
}

TEST_F(KeySlotTest, ARenamedOneIsRefused) {
  add(key_file, keyring);
  const std::string renamed = "keys/" + SlotId::make(repository.random).hex();
  storage.put(renamed, storage::content_of(storage, only_slot()));
  storage::delete_object(storage,
                         only_slot() == renamed ? storage::names_in(storage)[1] : only_slot());
  EXPECT_THAT(storage::names_in(storage), ElementsAre(renamed));
  EXPECT_EQ(error_of([&] { open_keyring(storage, key_file); }).kind(), ErrorKind::kDamaged);
}

// Someone who can write to the storage, and knows no secret, puts a keyring of his own into the
// slot: it is sealed to the slot's public key, as anyone can. What is written from then on he could
// read.
TEST_F(KeySlotTest, AKeyringPutThereByAnotherIsRefused) {
  add(key_file, keyring);
  const std::string name = only_slot();
  const base::Bytes good = storage::content_of(storage, name);
  base::ByteReader reader(good, "slot");
  reader.raw(8 + 1 + 1 + 16);
  reader.string();
  reader.raw(8 + 16 + 3);
  const auto public_key = read_array<32>(reader);
  reader.raw(32);
  const base::ByteView head = base::ByteView(good).first(good.size() - reader.left());

  Keyring forged = Keyring::make(repository.random);
  forged.repository = keyring.repository;
  base::ByteWriter associated;
  associated.raw(base::as_bytes(name));
  associated.raw(head);
  base::ByteWriter object;
  object.raw(head);
  object.bytes(crypto::seal_to(public_key, "key slot", associated.view(), encode_keyring(forged),
                               repository.random));
  base::ByteWriter checked;
  checked.raw(base::as_bytes(name));
  checked.raw(object.view());
  object.raw(crypto::sha256(checked.view()));
  storage::replace_object(storage, name, object.view());

  EXPECT_EQ(list_key_slots(storage).size(), 1u);  // nothing is wrong with it to look at
  EXPECT_EQ(error_of([&] { open_keyring(storage, key_file); }).kind(), ErrorKind::kDamaged);
}

// ---- rotation

TEST_F(KeySlotTest, RotationGivesEverySlotTheNewKey) {
  add(key_file, keyring, "full");
  add(passphrase("secret"), keyring, "spare");
  add(other_key_file, keyring.write_only(), "host");
  const Keyring rotated = rotate_data_key(storage, keyring, repository.random);
  EXPECT_EQ(rotated.data.size(), 2u);
  EXPECT_NE(rotated.writing_key(), keyring.writing_key());
  EXPECT_TRUE(same_keys(open_keyring(storage, key_file).keyring, rotated));
  EXPECT_TRUE(same_keys(open_keyring(storage, passphrase("secret")).keyring, rotated));
  EXPECT_TRUE(same_keys(open_keyring(storage, other_key_file).keyring, rotated.write_only()));
  EXPECT_EQ(list_key_slots(storage).size(), 3u);
  EXPECT_EQ(
      error_of([&] { rotate_data_key(storage, rotated.write_only(), repository.random); }).kind(),
      ErrorKind::kRefused);
}

TEST_F(KeySlotTest, ARotationThatIsKilledAnywhereLocksNobodyOut) {
  add(key_file, keyring);
  add(other_key_file, keyring);
  for (std::size_t n = 1;; ++n) {
    const auto copy = storage::open_memory();
    storage::copy_objects(storage, *copy);
    storage::Faults faults;
    storage::FaultStorage faulty(*copy, faults);
    faults.arm({.at = n, .from_then_on = true});
    try {
      rotate_data_key(faulty, keyring, repository.random);
    } catch (const base::Error&) {
    }
    for (const Credential* credential : {&key_file, &other_key_file}) {
      const Keyring opened = open_keyring(*copy, *credential).keyring;
      EXPECT_NE(opened.secret_for(keyring.writing_key()), nullptr) << n;
      const Keyring again = rotate_data_key(*copy, opened, repository.random);
      EXPECT_TRUE(same_keys(open_keyring(*copy, *credential).keyring, again)) << n;
    }
    EXPECT_EQ(list_key_slots(*copy).size(), 2u) << n;
    if (!faults.fired()) break;
  }
}

}  // namespace
}  // namespace holdfast::repository
