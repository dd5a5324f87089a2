#pragma once
// The rights. Every route of the API names the one it needs, in the table where it is declared, and
// doors/beanstalk/rights.h says it of each verb. One is checked so far: who may define queues
// (ApiDoor::permit). No verb of beanstalkd's can.
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
