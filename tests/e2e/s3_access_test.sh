#!/usr/bin/env bash
# How a bucket is reached: TLS that is verified, credentials from each usual place, and what is said where
# something about it is wrong.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

storage=s3
need_store
rm "$work/credentials" # only those count that a step gives
secret=$S3_SECRET_KEY

# configure KEYS: the repository in the bucket, with these keys beside its url.
configure() {
  cat >"$config" <<END
repositories:
  main: {url: "s3://${place-$bucket}/main", key_file: $work/holdfast.key, $1}
END
}

# fails EXIT_STATUS CODE TEXT...: a listing does, with that code, and says so; the secret it does not say.
fails() {
  expect "$1" timeout 60 "${server_user[@]}" "$program" -c "$config" --json list
  same "the code" "$2" "$(result 'd["error"]["code"]')"
  shift 2
  local text
  for text in "$@"; do says "$text"; done
  ! grep -qF "$secret" "$work/out" "$work/err" || fail "the secret was said"
}

# The environment, over TLS with the store's own certificate.
export AWS_ACCESS_KEY_ID=$S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$secret AWS_REGION=us-east-1
tls="endpoint: \"$S3_TLS_ENDPOINT\""
configure "$tls, ca_file: $S3_CA_FILE"
chmod a+rx "$work/store" && chmod a+r "$S3_CA_FILE"
expect 0 holdfast init
expect 0 holdfast list
configure "$tls"
fails 1 failed certificate
configure "$tls, ca_file: $work/nowhere.pem"
fails 2 config "there is no ca_file"

# Profiles of the files in the home directory; a file of one's own; a program.
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION
configure "endpoint: \"$S3_ENDPOINT\""
export AWS_EC2_METADATA_DISABLED=true
fails 2 config "no credentials for the object store" "$work/.aws/credentials"
mkdir "$work/.aws"
write_credentials "$work/.aws/credentials" "$S3_ACCESS_KEY" "$secret"
expect 0 holdfast list
configure "endpoint: \"$S3_ENDPOINT\", credentials: {profile: backup}"
fails 2 config "no profile backup"
sed -i 's/default/backup/' "$work/.aws/credentials"
expect 0 holdfast list
mv "$work/.aws/credentials" "$work/mine"
configure "endpoint: \"$S3_ENDPOINT\", credentials: {file: mine, profile: backup}"
expect 0 holdfast list
chmod a+r "$work/mine"
expect 3 holdfast --json check
same "who may read them" "attention" \
  "$(result '[f["verdict"] for f in d["findings"] if f["what"] == "credentials"][0]')"
printf '{"Version": 1, "AccessKeyId": "%s", "SecretAccessKey": "%s"}' "$S3_ACCESS_KEY" "$secret" >"$work/answer"
printf '[profile backup]\ncredential_process = cat %s\n' "$work/answer" >"$work/.aws/config"
((EUID != 0)) || chown -R postgres: "$work/.aws" "$work/answer"
configure "endpoint: \"$S3_ENDPOINT\", credentials: {profile: backup}"
expect 0 holdfast list

# What is wrong, and what to do about it.
write_credentials "$work/mine" "$S3_ACCESS_KEY" "wrong-$secret"
configure "endpoint: \"$S3_ENDPOINT\", credentials: {file: mine}"
fails 1 permission SignatureDoesNotMatch "the secret key does not belong to the access key"
write_credentials "$work/mine" nobody "$secret"
fails 1 permission InvalidAccessKeyId "$work/mine"
write_credentials "$work/mine" "$S3_ACCESS_KEY" "$secret"
place=no-such-bucket configure "endpoint: \"$S3_ENDPOINT\", credentials: {file: mine}"
fails 1 failed "create the bucket no-such-bucket"
"$project/scripts/object_store" down "$work/store"
place=$bucket configure "endpoint: \"$S3_ENDPOINT\", credentials: {file: mine}"
fails 1 unavailable "$S3_ENDPOINT"

echo "a bucket is reached by each usual way"
