#include "http/body.h"

namespace rq::http {

bool Budget::Share::grow_to(Budget& budget, std::size_t bytes) {
  if (bytes <= bytes_) return true;
  const std::size_t more = bytes - bytes_;
  if (more > budget.left_) return false;
  budget.left_ -= more;
  budget_ = &budget;
  bytes_ = bytes;
  return true;
}

void Budget::Share::give_back() {
  Budget* budget = std::exchange(budget_, nullptr);
  const std::size_t bytes = std::exchange(bytes_, 0);
  if (budget == nullptr || bytes == 0) return;
  budget->left_ += bytes;
  if (budget->on_free_) budget->on_free_();
}

}  // namespace rq::http
