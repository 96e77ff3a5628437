// Per-thread work areas of the kernels.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "level.h"

typedef struct area {
    size_t size;
    void * mem;
} area;

static pthread_key_t  key;
static pthread_once_t once    = PTHREAD_ONCE_INIT;
static int            key_err = 1;

static void area_free(void * p) {
    area * a = p;
    free(a->mem);
    free(a);
}

static void make_key(void) { key_err = pthread_key_create(&key, area_free); }

static area * own_area(void) {
    pthread_once(&once, make_key);
    if (key_err) return NULL;
    area * a = pthread_getspecific(key);
    if (a) return a;
    a = calloc(1, sizeof *a);
    if (a && pthread_setspecific(key, a)) {
        free(a);
        return NULL;
    }
    return a;
}

void * gt_scratch(size_t size) {
    area * a = own_area();
    if (a && a->size < size) {
        free(a->mem);
        a->mem  = NULL;
        a->size = (size + 4095) / 4096 * 4096;
        if (posix_memalign(&a->mem, 4096, a->size)) a->mem = NULL;
    }
    if (!a || !a->mem) {
        fprintf(stderr, "ggtune: no memory for a kernel's work area of %zu bytes\n", size);
        abort();
    }
    return a->mem;
}
