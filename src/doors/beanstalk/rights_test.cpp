#include "doors/beanstalk/rights.h"

#include <gtest/gtest.h>

namespace rq::doors::beanstalk {
namespace {

using wire::beanstalk::Verb;

TEST(Rights, NoVerbMayDoMoreThanPutWorkLookAndManage) {
  for (int i = 0; i < wire::beanstalk::kVerbCount; ++i) {
    const auto verb = static_cast<Verb>(i);
    EXPECT_LE(right_of(verb).value_or(Right::enqueue), Right::manage) << word_of(verb);
  }
  EXPECT_EQ(right_of(Verb::put), Right::enqueue);
  EXPECT_EQ(right_of(Verb::reserve), Right::work);
  EXPECT_EQ(right_of(Verb::stats), Right::read);
  EXPECT_EQ(right_of(Verb::pause_tube), Right::manage);
  EXPECT_EQ(right_of(Verb::watch), std::nullopt);
}

}  // namespace
}  // namespace rq::doors::beanstalk
