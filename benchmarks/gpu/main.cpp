// One step of the suite on one device: JSON on standard output, run.sh puts the steps together.
//
//   gpu_suite PREPARED WORK DEVICE|cpu weights|self-check|oracles|checkpoint

#include "core/engine.h"
#include "core/error.h"
#include "core/self_check.h"
#include "steps.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <map>
#include <thread>

namespace traitscope::gpu {

namespace {

Json devices() {
    Json list = Json::list();
    for (const Device & each : list_devices()) {
        list.add(Json::object()
                     .add("name", each.name)
                     .add("description", each.description)
                     .add("backend", each.backend)
                     .add("memoryFree", each.memory_free)
                     .add("memoryTotal", each.memory_total));
    }
    return list;
}

} // namespace

Json check_self(const Suite & suite) {
    Json switches = Json::list();
    for (const PrecisionSwitch & each : precision_switches()) {
        switches.add(Json::object().add("name", each.name).add("value", each.value).add("ours", each.ours));
    }
    Json checks = Json::list();
    for (const SelfCheck & each : self_check(suite.device, suite.n_threads)) {
        checks.add(
            Json::object().add("type", each.type).add("unsplit", each.unsplit).add("split", each.split));
    }
    return Json::object()
        .add("system", system_info())
        .add("devices", devices())
        .add("precision", switches)
        .add("relativeL2", checks);
}

} // namespace traitscope::gpu

int main(int argc, char ** argv) {
    using namespace traitscope;
    using namespace traitscope::gpu;
    const std::map<std::string, Json (*)(const Suite &)> steps = {
        {"weights", make_weights},
        {"self-check", check_self},
        {"oracles", check_oracles},
        {"checkpoint", measure_checkpoints},
    };
    const auto step = argc == 5 ? steps.find(argv[4]) : steps.end();
    if (step == steps.end()) {
        std::fprintf(stderr,
                     "usage: gpu_suite PREPARED WORK DEVICE|cpu weights|self-check|oracles|checkpoint\n");
        return 2;
    }
    try {
        const std::string device = argv[3];
        load_backends(std::filesystem::canonical("/proc/self/exe").parent_path().string());
        init_engine();
        // Threads that wait for each other spin: on the CPU, where small shapes are tried, one is enough.
        const unsigned most = device == "cpu" ? 1 : 16;
        const unsigned n_threads = std::clamp(std::thread::hardware_concurrency(), 1U, most);
        const Suite suite = {argv[1], argv[2], device == "cpu" ? "" : device,
                             static_cast<int32_t>(n_threads)};
        std::printf("%s\n", step->second(suite).str().c_str());
        return 0;
    } catch (const std::exception & error) {
        std::fprintf(stderr, "gpu_suite: %s\n", error.what());
        return 1;
    }
}
