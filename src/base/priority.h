// How this program stands among the others of the machine.
#pragma once

namespace holdfast::base {

// Processor and disk go to others first. For the calling thread and those that it starts from then
// on. False where the system refuses a part of it.
bool lower_priority();

}  // namespace holdfast::base
