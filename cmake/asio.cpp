// The compiled half of Boost.Asio and Boost.Beast (see cmake/rq_dependencies.cmake).
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
