# Every third-party library, in one place. Debian 12 packages all of them; tools/setup names the
# packages. Imported targets are SYSTEM: our warnings stop at our own code.

find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json system)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)

# The allocator of the programs (docs/ARCHITECTURE.md has the figure). The sanitizers bring theirs.
add_library(rq_malloc INTERFACE)
if(NOT RQ_SANITIZE AND NOT RQ_FUZZ)
  find_library(RQ_JEMALLOC jemalloc REQUIRED)
  target_link_libraries(rq_malloc INTERFACE ${RQ_JEMALLOC})
endif()

# Asio and Beast are headers; compiling their non-template half once, here, halves the build time
# of every file that uses them.
add_library(rq_asio STATIC ${PROJECT_SOURCE_DIR}/cmake/asio.cpp)
target_compile_definitions(rq_asio PUBLIC
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED)
target_link_libraries(rq_asio PUBLIC Boost::headers Boost::system Threads::Threads)

if(BUILD_TESTING)
  find_package(GTest REQUIRED)
  find_package(rapidcheck REQUIRED)
  find_package(benchmark REQUIRED)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
endif()
