/** @file Names of logs. */

/** What the log of validation is called: valLoss of loss. */
export const validationOf = (name: string): string => `val${name.charAt(0).toUpperCase()}${name.slice(1)}`;
