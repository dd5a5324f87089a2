# Compiler and linker flags, for every file of the tree.

set(RQ_SANITIZE "" CACHE STRING "Sanitizers, comma separated: address,undefined or thread")
option(RQ_FUZZ "Build *_fuzz.cpp as libFuzzer programs (needs clang)" OFF)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# PIE for all: also what the sanitizers want.
include(CheckPIESupported)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
check_pie_supported(LANGUAGES CXX)

# No NDEBUG anywhere: a check that is off in what ships is not a check. -g1 keeps stack traces
# readable at little cost in size.
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g -D_GLIBCXX_ASSERTIONS")
set(CMAKE_CXX_FLAGS_RELEASE
    "-O2 -g1 -D_GLIBCXX_ASSERTIONS -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong")
set(CMAKE_CXX_FLAGS_SANITIZE "-O1 -g -fno-omit-frame-pointer -D_GLIBCXX_ASSERTIONS")

add_compile_options(
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wold-style-cast -Wnon-virtual-dtor
  -Woverloaded-virtual -Werror
  # A designated initialiser leaves the rest at its default on purpose.
  -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports an overlapping copy inside std::string's own operator+ (GCC bug 105651).
  add_compile_options(-Wno-restrict)
endif()

if(RQ_SANITIZE)
  add_compile_options(-fsanitize=${RQ_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${RQ_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Instrumented code confuses g++'s flow analysis: false alarms in library headers.
    add_compile_options(-Wno-maybe-uninitialized)
  endif()
  if(RQ_SANITIZE STREQUAL "thread")
    # Fences are not understood by the sanitizer; asio's locks are.
    add_compile_definitions(BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()
if(RQ_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "RQ_FUZZ needs clang (libFuzzer); this is ${CMAKE_CXX_COMPILER_ID}. "
                        "Use: cmake --preset fuzz")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# The libraries are parts of one program: nobody puts a function in place of theirs, so that those of
# one file may be compiled into each other.
set(RQ_OF_ONE_PROGRAM -fno-semantic-interposition)

add_link_options(-Wl,--as-needed -Wl,-z,relro,-z,now)

# Faster builds where the machine offers it; never required.
find_program(RQ_CCACHE ccache)
if(RQ_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${RQ_CCACHE})
endif()
include(CheckLinkerFlag)
foreach(linker mold lld)
  check_linker_flag(CXX -fuse-ld=${linker} RQ_HAS_${linker})
  if(RQ_HAS_${linker})
    add_link_options(-fuse-ld=${linker})
    break()
  endif()
endforeach()
