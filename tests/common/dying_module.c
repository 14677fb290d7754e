/* A PKCS#11 module that is SoftHSM2, but for three things. It adds a line to the file named by LOGINS_FILE for each C_Login. And where the file named by
 * DIES_FILE is there, it removes it and kills the process: with "half" in it, when a key pair was made and its private half is gone again (a token that writes
 * the public half first looks like that in between); with "pair", when both are there; with "destroyed", when an object was destroyed. */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* CK_FUNCTION_LIST of PKCS#11 2.40: a version and 68 functions. */
struct functions { unsigned char version[2]; void *function[68]; };
enum { GET_FUNCTION_LIST = 3, LOGIN = 18, DESTROY = 22, GENERATE_PAIR = 59 };
typedef unsigned long (*list_function)(struct functions **);
typedef unsigned long (*login_function)(unsigned long, unsigned long, void *, unsigned long);
typedef unsigned long (*destroy_function)(unsigned long, unsigned long);
typedef unsigned long (*pair_function)(unsigned long, void *, void *, unsigned long, void *, unsigned long, unsigned long *, unsigned long *);

static struct functions list, *real;

static int dies_where(const char *wanted) {
    char found[16] = "";
    const char *path = getenv("DIES_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file) return 0;
    if (!fgets(found, sizeof found, file)) found[0] = 0;
    fclose(file);
    return strcmp(found, wanted) == 0;
}

static void die_where(const char *wanted) {
    if (!dies_where(wanted)) return;
    unlink(getenv("DIES_FILE"));
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static unsigned long login(unsigned long session, unsigned long user, void *pin, unsigned long length) {
    const char *path = getenv("LOGINS_FILE");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) { fputs("login\n", file); fclose(file); }
    return ((login_function)real->function[LOGIN])(session, user, pin, length);
}

static unsigned long destroy(unsigned long session, unsigned long object) {
    unsigned long result = ((destroy_function)real->function[DESTROY])(session, object);
    die_where("destroyed");
    return result;
}

static unsigned long generate(unsigned long session, void *mechanism, void *public, unsigned long publics, void *private, unsigned long privates,
                              unsigned long *public_key, unsigned long *private_key) {
    pair_function make = (pair_function)real->function[GENERATE_PAIR];
    unsigned long result = make(session, mechanism, public, publics, private, privates, public_key, private_key);
    if (result == 0 && dies_where("half")) ((destroy_function)real->function[DESTROY])(session, *private_key);
    die_where("half");
    die_where("pair");
    return result;
}

unsigned long C_GetFunctionList(struct functions **out) {
    void *library = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    if (!library || ((list_function)dlsym(library, "C_GetFunctionList"))(&real) != 0) return 5;
    memcpy(&list, real, sizeof list);
    list.function[LOGIN] = login;
    list.function[DESTROY] = destroy;
    list.function[GENERATE_PAIR] = generate;
    list.function[GET_FUNCTION_LIST] = C_GetFunctionList;
    *out = &list;
    return 0;
}
