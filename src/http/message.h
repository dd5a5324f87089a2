#pragma once
// The head of a request, as far as a server must know it; and the words of a reply's head.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rq::http {

enum class Method : std::uint8_t { get, post, put, patch, del, other };
[[nodiscard]] std::string_view name_of(Method method);

// The header fields that Head has no member for, in the order they came.
class Fields {
 public:
  void add(std::string_view name, std::string_view value);
  // The first with this name, whatever its case; empty when there is none.
  [[nodiscard]] std::string_view find(std::string_view name) const;
  // Keeps the memory.
  void clear();

 private:
  struct Place {
    std::uint32_t name_bytes;
    std::uint32_t value_bytes;
  };
  std::string text_;  // names and values, one behind the other
  std::vector<Place> places_;
};

struct Head {
  Method method = Method::other;
  bool head_only = false;  // HEAD: as GET, without the body
  int version = 11;        // 10: HTTP/1.0
  std::string target;
  std::string host;
  int hosts = 0;           // Host fields seen
  std::string media_type;  // of the body: without parameters, lower case
  bool expect_continue = false;
  bool expect_unknown = false;
  bool encoded = false;  // the body has a Content-Encoding
  bool target_too_long = false;
  bool target_bad = false;  // bytes that no address may have
  Fields fields;

  // For the next request on the connection: keeps the memory.
  void clear();
  [[nodiscard]] std::string_view path() const;
  // What is behind the '?'; empty when there is none.
  [[nodiscard]] std::string_view query() const;
};

[[nodiscard]] bool same_name(std::string_view a, std::string_view b);  // whatever the case

// "HTTP/1.1 200 OK\r\n"
void append_status_line(std::string& out, int status);

}  // namespace rq::http
