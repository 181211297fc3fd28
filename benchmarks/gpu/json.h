#pragma once
// What the suite says, as JSON: objects and lists of numbers and plain texts, in the order they were added.

#include <cmath>
#include <cstdio>
#include <string>
#include <type_traits>

namespace traitscope::gpu {

class Json {
  public:
    static Json object() { return Json('{', '}'); }
    static Json list() { return Json('[', ']'); }

    Json & add(const std::string & key, const Json & value) { return put(quoted(key) + ": " + value.str()); }
    Json & add(const std::string & key, const std::string & text) {
        return put(quoted(key) + ": " + quoted(text));
    }
    Json & add(const std::string & key, const char * text) { return add(key, std::string(text)); }
    Json & add(const std::string & key, bool value) {
        return put(quoted(key) + (value ? ": true" : ": false"));
    }
    template <typename Number, typename = std::enable_if_t<std::is_arithmetic_v<Number>>>
    Json & add(const std::string & key, Number value) {
        return put(quoted(key) + ": " + shown(static_cast<double>(value)));
    }
    Json & add(const Json & value) { return put(value.str()); }
    Json & add(double value) { return put(shown(value)); }

    std::string str() const { return open_ + items_ + close_; }

  private:
    Json(char open, char close) : open_(1, open), close_(1, close) {}

    Json & put(const std::string & item) {
        items_ += (items_.empty() ? "" : ", ") + item;
        return *this;
    }

    /// Nine digits bring an F32 back; JSON has no NaN.
    static std::string shown(double value) {
        if (!std::isfinite(value)) {
            return "null";
        }
        char text[32];
        std::snprintf(text, sizeof(text),
                      value == std::floor(value) && std::fabs(value) < 1e15 ? "%.0f" : "%.9g", value);
        return text;
    }

    static std::string quoted(const std::string & text) {
        std::string out = "\"";
        for (const char c : text) {
            if (c == '"' || c == '\\') {
                out += '\\';
            }
            out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
        }
        return out + '"';
    }

    std::string open_;
    std::string close_;
    std::string items_;
};

} // namespace traitscope::gpu
