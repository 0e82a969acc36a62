// Secret bytes as text that can be printed and typed in again by hand: "A key on paper" in
// docs/format.md. Each line says its number and ends in a check of its own, so that a mistake is
// named by its line.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "crypto/secret.h"

namespace holdfast::repository {

std::size_t count_typed_lines(std::size_t size_bytes);

crypto::SecretText to_typed_lines(base::ByteView bytes);

// Of `count` lines, in any order; empty lines and those that begin with '#' do not matter, nor do
// case and spaces. kKey, naming all lines that are wrong, missing or there twice. The caller wipes
// the result.
base::Bytes from_typed_lines(std::string_view text, std::size_t count);

}  // namespace holdfast::repository
