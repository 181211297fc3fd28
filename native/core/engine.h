#pragma once
// The process-wide side of llama.cpp: its set-up, the backends that are loaded and the devices they bring.

#include <cstdint>
#include <string>
#include <vector>

namespace traitscope {

struct Device {
    std::string name;
    std::string description;
    bool is_gpu = false;
    uint64_t memory_free = 0;
    uint64_t memory_total = 0;
};

/// Sets up llama.cpp once per process; every entry point below calls it.
void init_engine();

/// A portable build brings ggml's backends as libraries: loads the best CPU kernels found in `folder`. Call
/// it first; does nothing where the backends are linked in.
void load_backends(const std::string & folder);

std::vector<Device> list_devices();

/// llama.cpp's list of CPU features and backends that this build uses.
std::string system_info();

} // namespace traitscope
