export const allProtections = {
    fillLease: true, versionCompare: true, stamp: true, acknowledgements: true, leaseCheck: true,
    heartbeatBySubscription: true, youngTableWait: true, overtakenLoads: true, joinNext: true
};
