#pragma once
// What comes in, read strictly: unknown fields are refused by name, kinds and bounds are checked.
#include <cstdint>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "base/result.h"
#include "core/command.h"
#include "http/query.h"

namespace rq::doors::api {

// One message to put into `queue`. `text`: what `object` was parsed from; JSON that rq carries is
// taken from there as it stands.
[[nodiscard]] base::Result<core::Put> put_from_json(const boost::json::object& object,
                                                    std::string_view queue, std::string_view text);
// The same for the result of an item: REQUIRES: it was read from `text`.
[[nodiscard]] base::Result<void> carry_result(core::Finish::Item& item, std::string_view text);
                                                    std::string_view queue);
                                                    // Whether a put has one of the fields that
                                                    // bring a payload.
                                                    [[nodiscard]] bool has_payload(
                                                        const boost::json::object& object);
                                                    // What is wrong with the payload of a put.
                                                    [[nodiscard]] base::Error two_payloads();
                                                    [[nodiscard]] base::Error bad_base64();
                                                    // The same from query parameters; the payload
                                                    // comes beside them. Numbers stand as they are,
                                                    // lists (tags, webhooks) with commas between,
                                                    // headers and backoff as JSON.
                                                    [[nodiscard]] base::Result<core::Put>
                                                    put_from_query(const http::Query& query,
                                                                   std::string_view queue,
                                                                   std::string_view media_type,
                                                                   std::string_view bytes);

                                                    [[nodiscard]] base::Result<core::Reserve>
                                                    reserve_from_json(
                                                        const boost::json::object& object,
                                                        base::Instant now);

                                                    [[nodiscard]] base::Result<
                                                        core::Heartbeat::Item>
                                                    heartbeat_from_json(
                                                        const boost::json::object& object);
                                                    [[nodiscard]] base::Result<
                                                        core::Heartbeat::Item>
                                                    progress_from_json(
                                                        const boost::json::object& object);
                                                    [[nodiscard]] base::Result<core::Finish::Item>
                                                    done_from_json(
                                                        const boost::json::object& object);
                                                    [[nodiscard]] base::Result<core::Finish::Item>
                                                    relayed_from_json(
                                                        const boost::json::object& object);
                                                    [[nodiscard]] base::Result<core::Finish::Item>
                                                    err_from_json(
                                                        const boost::json::object& object);
                                                    [[nodiscard]] base::Result<core::Finish::Item>
                                                    resend_from_json(
                                                        const boost::json::object& object);
                                                    [[nodiscard]] base::Result<core::Finish::Item>
                                                    release_from_json(
                                                        const boost::json::object& object);
                                                    [[nodiscard]] base::Result<core::Finish::Item>
                                                    finish_from_json(
                                                        const boost::json::object& object);
                                                    [[nodiscard]] base::Result<core::Duplicate>
                                                    duplicate_from_json(
                                                        const boost::json::object& object);

                                                    }  // namespace rq::doors::api
