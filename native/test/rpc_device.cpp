#include "test/rpc_device.h"

#include "core/error.h"

#include <arpa/inet.h>
#include <cstdlib>
#include <fcntl.h>
#include <ggml-backend.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace traitscope {

namespace {

sockaddr_in loopback(int port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// A port that is free now.
int free_port() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof(address);
    auto * generic = reinterpret_cast<sockaddr *>(&address);
    const bool bound = bind(listener, generic, size) == 0 && getsockname(listener, generic, &size) == 0;
    close(listener);
    return bound ? ntohs(address.sin_port) : 0;
}

/// ggml ends the process where nobody listens, so we try first.
bool listens(int port) {
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in address = loopback(port);
    const bool connected =
        connect(client, reinterpret_cast<const sockaddr *>(&address), sizeof(address)) == 0;
    close(client);
    return connected;
}

/// Its standard input is a pipe whose end tells it that this process is gone.
void start_server(const std::string & folder, const std::string & endpoint) {
    const std::string program = folder + "/rpc_server";
    int to_child[2];
    if (pipe(to_child) != 0) {
        fail_internal("no pipe for the test device");
    }
    const pid_t child = fork();
    if (child == 0) {
        dup2(to_child[0], STDIN_FILENO);
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        for (int fd = STDERR_FILENO + 1; fd < 1024; ++fd) {
            close(fd);
        }
        execl(program.c_str(), program.c_str(), folder.c_str(), endpoint.c_str(), nullptr);
        _exit(127);
    }
    close(to_child[0]);
    fcntl(to_child[1], F_SETFD, FD_CLOEXEC); // or our own children would keep it alive
}

} // namespace

void add_rpc_device(const std::string & folder) {
    if (std::getenv("TRAITSCOPE_TEST_RPC") == nullptr) {
        return;
    }
    ggml_backend_reg_t rpc = ggml_backend_reg_by_name("RPC");
    using AddServer = ggml_backend_reg_t (*)(const char *);
    const auto add_server = rpc == nullptr ? nullptr
                                           : reinterpret_cast<AddServer>(ggml_backend_reg_get_proc_address(
                                                 rpc, "ggml_backend_rpc_add_server"));
    if (add_server == nullptr) {
        fail_internal("the test device's backend is not there");
    }
    const int port = free_port();
    const std::string endpoint = "127.0.0.1:" + std::to_string(port);
    start_server(folder, endpoint);
    for (int i = 0; !listens(port); ++i) {
        if (i == 500) {
            fail_internal("the test device's server at " + endpoint + " does not answer");
        }
        usleep(20'000);
    }
    ggml_backend_reg_t reg = add_server(endpoint.c_str());
    if (reg == nullptr) {
        fail_internal("the test device's server has no device");
    }
    ggml_backend_register(reg);
}

} // namespace traitscope
