/* lib/base/rk_plant.c - see rk_plant.h; empty in builds without planted bugs. */
#include "lib/base/rk_plant.h"

#ifdef RK_PLANTED
enum rk_plant rk_planted = RK_PLANT_NONE;
#else
typedef int rk_plant_nothing;
#endif
