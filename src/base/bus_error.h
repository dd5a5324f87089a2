#pragma once
// A file that is mapped into memory and becomes shorter, or that its disk cannot read, ends the
// process with SIGBUS as soon as somebody looks at what is not there. Here it says which file it
// was before it dies.
namespace rq::base {

// From now on, for all files that the process has mapped: one line on standard error. `who`: the
// first word of it; lives for ever. Thread: the main one, before any other is started.
void name_file_of_bus_error(const char* who);

}  // namespace rq::base
