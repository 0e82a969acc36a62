// Credentials of the environment, of files and profiles, and of programs.
#include "storage/s3/credentials.h"

#include "credentials_fixture.h"
#include "storage/s3/profile_files.h"

namespace holdfast::storage::s3 {
namespace {

using base::ErrorKind;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

using CredentialChain = CredentialsTest;

TEST_F(CredentialChain, TakesTheEnvironmentFirst) {
  write(".aws/credentials", "[default]\naws_access_key_id=FILE\naws_secret_access_key=s\n");
  set("AWS_ACCESS_KEY_ID", "KEY");
  set("AWS_SECRET_ACCESS_KEY", "SECRET");
  set("AWS_SESSION_TOKEN", "TOKEN");
  const auto chain = source();
  const auto found = chain->current();
  EXPECT_EQ(found->access_key, "KEY");
  EXPECT_EQ(found->secret_key.view(), "SECRET");
  EXPECT_EQ(found->session_token.view(), "TOKEN");
  EXPECT_FALSE(found->expires);
  EXPECT_EQ(chain->describe(), "the environment");
  clock_.advance(std::chrono::hours(1));
  EXPECT_FALSE(chain->refused(*found)) << "the environment cannot change";
}

TEST_F(CredentialChain, HalfAnEnvironmentIsAMistake) {
  set("AWS_SECRET_ACCESS_KEY", "hunter2");
  const base::Error error = failure();
  EXPECT_EQ(error.kind(), ErrorKind::kConfig);
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr("AWS_ACCESS_KEY_ID is not"), Not(HasSubstr("hunter2"))));
}

TEST_F(CredentialChain, SaysWhereItLooked) {
  const base::Error error = failure();
  EXPECT_EQ(error.kind(), ErrorKind::kConfig);
  EXPECT_THAT(error.what(),
              AllOf(HasSubstr("AWS_ACCESS_KEY_ID is not set"), HasSubstr("AWS_WEB_IDENTITY"),
                    HasSubstr(directory_.path().string() + "/.aws/credentials"),
                    HasSubstr("container"), HasSubstr("AWS_EC2_METADATA_DISABLED")));
  EXPECT_THAT(error.hint(), HasSubstr("credentials: {file: PATH}"));
}

TEST_F(CredentialChain, ReadsTheFilesOfTheHomeDirectory) {
  write(".aws/credentials",
        "# mine\n[default]\naws_access_key_id = KEY\naws_secret_access_key=SE/CR+ET=\r\n");
  write(".aws/config", "[default]\nregion = eu-central-1\n[profile backup]\nregion=eu-west-3\n");
  const auto chain = source();
  EXPECT_EQ(chain->current()->secret_key.view(), "SE/CR+ET=");
  EXPECT_THAT(chain->describe(), HasSubstr("profile default of "));
  EXPECT_EQ(usual_region({}), "eu-central-1");
  EXPECT_EQ(usual_region({.profile = "backup"}), "eu-west-3");
  set("AWS_DEFAULT_REGION", "us-west-2");
  EXPECT_EQ(usual_region({}), "us-west-2");
  set("AWS_REGION", "ap-south-1");
  EXPECT_EQ(usual_region({}), "ap-south-1");
}

TEST_F(CredentialChain, ANamedProfileBeatsTheEnvironment) {
  set("AWS_ACCESS_KEY_ID", "ENVIRONMENT");
  set("AWS_SECRET_ACCESS_KEY", "s");
  const std::string file = write("keys",
                                 "[a]\naws_access_key_id=A\naws_secret_access_key=s\n"
                                 "[b]\naws_access_key_id=B\naws_secret_access_key=s\n"
                                 "aws_session_token=T\n");
  EXPECT_EQ(source({.file = file, .profile = "b"})->current()->access_key, "B");
  EXPECT_EQ(source({.file = file, .profile = "b"})->current()->session_token.view(), "T");
  set("AWS_PROFILE", "a");
  EXPECT_EQ(source({.file = file})->current()->access_key, "A");
  const base::Error error = failure({.file = file, .profile = "c"});
  EXPECT_EQ(error.kind(), ErrorKind::kConfig);
  EXPECT_THAT(error.what(), HasSubstr("no profile c in " + file));
  EXPECT_THAT(error.hint(), HasSubstr("a, b"));
}

TEST_F(CredentialChain, AFileThatIsMissingIsAMistake) {
  const base::Error error = failure({.file = "/nowhere/keys"});
  EXPECT_EQ(error.kind(), ErrorKind::kConfig);
  EXPECT_THAT(error.what(), HasSubstr("/nowhere/keys"));
}

TEST_F(CredentialChain, RefusesWhatWouldBreakAHeader) {
  for (const std::string secret : {"a b", "x\x01y", "\xc3\xa4"}) {
    const std::string file =
        write("keys", "[default]\naws_access_key_id=A\naws_secret_access_key=" + secret + "\n");
    const base::Error error = failure({.file = file});
    EXPECT_EQ(error.kind(), ErrorKind::kConfig);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("secret access key"), Not(HasSubstr(secret))));
  }
  const std::string half = write("half", "[default]\naws_access_key_id=A\n");
  EXPECT_THAT(failure({.file = half}).what(), HasSubstr("secret access key is empty"));
}

TEST_F(CredentialChain, ReadsTheFileAgainWhereTheStoreRefuses) {
  const std::string file =
      write("keys", "[default]\naws_access_key_id=OLD\naws_secret_access_key=s\n");
  const auto chain = source({.file = file});
  const auto old = chain->current();
  EXPECT_FALSE(chain->refused(*old)) << "they were read just now";
  write("keys", "[default]\naws_access_key_id=NEW\naws_secret_access_key=s\n");
  EXPECT_EQ(chain->current(), old);
  clock_.advance(std::chrono::minutes(1));
  EXPECT_TRUE(chain->refused(*old));
  const auto fresh = chain->current();
  EXPECT_EQ(fresh->access_key, "NEW");
  EXPECT_TRUE(chain->refused(*old)) << "another thread's refusal of the same old ones";
  EXPECT_EQ(chain->current(), fresh);
}

TEST_F(CredentialChain, NamesWhatItCannotFollow) {
  write(".aws/config",
        "[profile role]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=default\n"
        "[profile sso]\nsso_session=x\n");
  for (const std::string profile : {"role", "sso"}) {
    const base::Error error = failure({.profile = profile});
    EXPECT_EQ(error.kind(), ErrorKind::kConfig);
    EXPECT_THAT(error.what(), HasSubstr("profile " + profile));
    EXPECT_THAT(error.hint(), HasSubstr("export-credentials --profile " + profile));
  }
}

TEST_F(CredentialChain, AsksAProgramAndAgainBeforeTheyExpire) {
  const std::string answers = write("answer.json",
                                    R"({"Version": 1, "AccessKeyId": "ONE", "SecretAccessKey": "s",
      "SessionToken": "t", "Expiration": "2026-01-01T01:00:00Z"})");
  write(".aws/config", "[default]\ncredential_process = cat \"" + answers + "\"\n");
  const auto chain = source();
  EXPECT_EQ(chain->current()->access_key, "ONE");
  write("answer.json", R"({"AccessKeyId": "TWO", "SecretAccessKey": "s"})");
  clock_.advance(std::chrono::minutes(49));
  EXPECT_EQ(chain->current()->access_key, "ONE");
  clock_.advance(std::chrono::minutes(2));
  EXPECT_EQ(chain->current()->access_key, "TWO");
}

TEST_F(CredentialChain, SaysWhatAProgramComplainedOf) {
  write(".aws/config",
        "[profile fails]\ncredential_process = sh -c 'echo your session ended >&2; echo SECRET; "
        "exit 3'\n[profile garbage]\ncredential_process = echo SECRET\n"
        "[profile open]\ncredential_process = echo 'x\n");
  const base::Error fails = failure({.profile = "fails"});
  EXPECT_THAT(fails.what(), AllOf(HasSubstr("exit status 3"), HasSubstr("your session ended"),
                                  Not(HasSubstr("SECRET"))));
  const base::Error garbage = failure({.profile = "garbage"});
  EXPECT_THAT(garbage.what(), AllOf(HasSubstr("no JSON"), Not(HasSubstr("SECRET"))));
  EXPECT_THAT(failure({.profile = "open"}).what(), HasSubstr("is no command"));
}

ProfileFile parse(std::string text) {
  return ProfileFile::parse(crypto::SecretText(std::move(text)));
}

TEST(ProfileFile, KnowsItsSections) {
  const ProfileFile file = parse(
      "region = of-nobody\n"
      "[default]\nregion=one\ns3 =\n  region = nested\n  x = y\nREGION = two\n"
      "[ profile  far ]\nregion = three ; four\n[profile]\nregion=five\n;region=six\n");
  EXPECT_EQ(file.value("default", "region"), "two");
  EXPECT_EQ(file.value("far", "region"), "three ; four");
  EXPECT_EQ(file.value("profile", "region"), "five");
  EXPECT_TRUE(file.has("far"));
  EXPECT_FALSE(file.has("near"));
  EXPECT_THAT(file.profiles(), ElementsAre("default", "far", "profile"));
}

TEST(ProfileFile, BearsAnyBytes) {
  for (const std::string& text :
       {std::string("["), std::string("[]"), std::string("[profile"), std::string("=\n=x\n[\n]"),
        std::string("\0\0[a]\0b=c", 9), std::string("[[[a\n= = ="), std::string(5000, '[')}) {
    const ProfileFile file = parse(text);
    EXPECT_EQ(file.value("default", "region"), "");
    file.profiles();
  }
}

TEST(SplitCommand, FollowsAShellsRules) {
  EXPECT_THAT(split_command(R"(/bin/a  "b c" 'd "e' f\ g "h\"i" '')").value(),
              ElementsAre("/bin/a", "b c", "d \"e", "f g", "h\"i", ""));
  EXPECT_THAT(split_command("  ").value(), ElementsAre());
  EXPECT_FALSE(split_command("a 'b"));
}

}  // namespace
}  // namespace holdfast::storage::s3
