#pragma once
// The rights of docs/ARCHITECTURE.md, "Trust". Every route and every verb names the one it needs,
// in the table where it is declared.
#include <cstdint>

namespace rq::doors {

enum class Right : std::uint8_t {
  enqueue,  // put messages
  work,     // reserve them and end them
  read,     // see queues, messages, logs, what happens
  manage,   // act on messages; pause queues
  define,   // make, change and delete queues: who may, decides what programs run
  admin,    // the server itself
};

}  // namespace rq::doors
