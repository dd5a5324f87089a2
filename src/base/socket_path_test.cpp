#include "base/socket_path.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "base/temp_dir_rig.h"

namespace rq::base {
namespace {

sockaddr_un address_of(const SocketPath& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.text().copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

Fd make_socket() { return Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }

TEST(SocketPath, LeavesAShortOneAsItIs) {
  const auto path = SocketPath::of("run/rq.sock");
  ASSERT_TRUE(path);
  EXPECT_EQ(path->text(), "run/rq.sock");
}

TEST(SocketPath, ALongOneIsReachedThroughItsFolder) {
  const test::TempDir dir;
  const auto folder = dir.path() / std::string(200, 'd') / std::string(200, 'e');
  std::filesystem::create_directories(folder);
  const std::string name = (folder / "rq.sock").string();

  const Fd listener = make_socket();
  {
    const auto path = SocketPath::of(name);
    ASSERT_TRUE(path);
    const sockaddr_un address = address_of(*path);
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
  }
  EXPECT_TRUE(std::filesystem::is_socket(name));

  const auto path = SocketPath::of(name);
  ASSERT_TRUE(path);
  const sockaddr_un address = address_of(*path);
  const Fd client = make_socket();
  EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
            0);
}

TEST(SocketPath, SaysWhyThereIsNone) {
  const test::TempDir dir;
  EXPECT_FALSE(SocketPath::of((dir.path() / std::string(150, 'x')).string()));
  EXPECT_EQ(errno, ENAMETOOLONG) << "a name of its own that no address holds";
  EXPECT_FALSE(SocketPath::of((dir.path() / std::string(150, 'x') / "rq.sock").string()));
  EXPECT_EQ(errno, ENOENT) << "no such folder";
}

}  // namespace
}  // namespace rq::base
