// libpq's environment variables, taken away where they would lead a connection elsewhere.
#pragma once

#include <string>
#include <vector>

namespace holdfast::postgres {

// While it lives, this process and the programs that it starts have none of the variables by which
// libpq connects (PGHOSTADDR, PGSERVICE, …): some of them go before what a connection string says.
// Other threads may read the environment meanwhile; one of these at a time, and nobody else changes
// it.
class WithoutClientEnvironment {
 public:
  WithoutClientEnvironment();
  ~WithoutClientEnvironment();
  WithoutClientEnvironment(const WithoutClientEnvironment&) = delete;
  WithoutClientEnvironment& operator=(const WithoutClientEnvironment&) = delete;

  // What was there, "NAME=value", for a program that is to have it.
  const std::vector<std::string>& taken() const { return taken_; }

 private:
  char** before_;
  std::vector<char*> kept_;  // as environ: it ends with nullptr
  std::vector<std::string> taken_;
};

}  // namespace holdfast::postgres
